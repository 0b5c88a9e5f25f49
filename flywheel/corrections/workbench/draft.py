"""What a person is about to submit: a value, and pure operations that give the next one. No store, no page, no clock.

A draft holds only what differs from the run: the marked step and what follows it (the *tail*); the run's own messages
are given to each operation. Each operation keeps the value before, so undo is one step back. Changing a step of the
tail drops what came after it: it followed from what is no longer there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from flywheel.corrections.proposal import Message, Proposal
from flywheel.toolcalls.arguments import canonical_json, parse_arguments, sha256_of
from flywheel.toolcalls.structured_answers import canonical_answer

Origin = Literal["written", "model", "reexecuted", "recorded"]
_UNDO, _UNDO_LARGE, _LARGE = 40, 3, 50_000


@dataclass(frozen=True)
class Draft:
    """One unfinished correction.

    Attributes:
        accepted: index of the last step accepted as it is, -1 for none.
        marked: index of the first wrong step, None before it is marked.
        tail: the corrected step and what follows, each with where it came from in `origins`.
        open, call: the step of the tail, and the call of it, that the form shows.
        raw: the form shows JSON.
        unread: JSON pointer -> text in a JSON box that is no JSON yet.
        unfixable, note: why nothing can be corrected.
        refusing: the answer began as a refusal: its words are offered for the next one.
        typing: the last change came from a field somebody is still typing into; undo takes such changes back as one.
        past: earlier values, oldest first.
    """

    accepted: int = -1
    marked: int | None = None
    tail: tuple[Message, ...] = ()
    origins: tuple[Origin, ...] = ()
    open: int = 0
    call: int = 0
    raw: bool = False
    unread: Mapping[str, str] | None = None
    unfixable: str | None = None
    note: str = ""
    refusing: bool = False
    typing: bool = False
    past: tuple[Mapping[str, Any], ...] = ()

    def payload(self) -> dict[str, Any]:
        """The draft as JSON values."""
        return dict(vars(self))

    @property
    def step(self) -> Message | None:
        """The step the form shows."""
        return self.tail[self.open] if self.tail else None

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls of that step."""
        return list((self.step or {}).get("tool_calls") or [])


def restored(payload: Mapping[str, Any] | None) -> Draft:
    """A draft from its payload; an empty one from None or from what an older version wrote."""
    try:
        values = {key: value for key, value in (payload or {}).items() if key != "effort"}
        return Draft(**{**values, "tail": tuple(values.get("tail", ())), "origins": tuple(values.get("origins", ())),
                        "past": tuple(values.get("past", ()))})  # fmt: skip
    except TypeError:
        return Draft()


def accept(draft: Draft, step: int) -> Draft:
    """The step stands as it is: what comes up to it is right."""
    return _next(draft, accepted=max(draft.accepted, step), unfixable=None)


def mark(draft: Draft, original: Sequence[Message], step: int) -> Draft:
    """The step is the first wrong one: the form is filled with what the model did; everything after it is stale."""
    if draft.marked == step and not draft.unfixable:
        return draft
    return _next(
        draft, accepted=step - 1, marked=step, tail=(_editable(original[step]),), origins=("written",), open=0, call=0,
        raw=False, unread=None, unfixable=None,
    )  # fmt: skip


def begin_again(proposal: Mapping[str, Any]) -> Draft:
    """The draft behind a submission that came back, so that its author goes on from it."""
    if proposal.get("unfixable") or "messages" not in proposal:
        return Draft()
    index = proposal["first_bad_message_index"]
    tail = tuple(proposal["messages"][index:])
    told: list[Any] = proposal.get("origins") or ["written" if m["role"] == "assistant" else "reexecuted" for m in tail]
    origins: tuple[Origin, ...] = tuple(told[: len(tail)])
    return Draft(accepted=index - 1, marked=index, tail=tail, origins=origins)


def choose(draft: Draft, position: int, call: int = 0) -> Draft:
    """Show another step of the tail, or another call of it; nothing changes."""
    if not 0 <= position < len(draft.tail) or draft.tail[position]["role"] != "assistant":
        return draft
    calls = draft.tail[position].get("tool_calls") or []
    return replace(draft, open=position, call=max(0, min(call, len(calls) - 1)), raw=False, unread=None)


def change_tool(draft: Draft, name: str, parameters: Mapping[str, Any]) -> Draft:
    """Call another tool; arguments of equal names that the new tool knows stay. An answer becomes a call."""
    step = dict(draft.step or {})
    calls = draft.calls or [_new_call(draft, 0)]
    call = min(draft.call, len(calls) - 1)
    known = parameters.get("properties") or {}
    kept = {k: v for k, v in (_arguments(calls[call]) or {}).items() if k in known or not known}
    calls[call] = {**calls[call], "function": {"name": name, "arguments": canonical_json(kept)}}
    step.update(tool_calls=calls, content=step.get("content") if draft.calls else None)
    return _rewritten(draft, step, call=call, raw=False, unread=None)


def set_arguments(draft: Draft, arguments: Mapping[str, Any], unread: Mapping[str, str] | None = None) -> Draft:
    """The form's values; the same values again change nothing."""
    if not draft.calls or (_arguments(draft.calls[draft.call]) == arguments and (unread or None) == (draft.unread or None)
                           and canonical_json(_arguments(draft.calls[draft.call])) == canonical_json(arguments)):  # fmt: skip
        return draft
    return _with_text(draft, canonical_json(arguments), unread or None)


def set_raw(draft: Draft, text: str) -> Draft:
    """The arguments as JSON text, valid or not."""
    if not draft.calls or draft.calls[draft.call]["function"]["arguments"] == text:
        return draft
    return _with_text(draft, text, None)


def typed(before: Draft, after: Draft) -> Draft:
    """`after` as one of a run of keystrokes: one undo takes back all of them."""
    if after is before:
        return before
    return replace(after, typing=True, past=before.past if before.typing else after.past)


def show_raw(draft: Draft, raw: bool) -> Draft:
    """Show the arguments as JSON, or as a form again."""
    return replace(draft, raw=raw, unread=None, typing=False)


def set_fields(draft: Draft, fields: Mapping[str, Any], unread: Mapping[str, str] | None = None) -> Draft:
    """The form's values of a structured answer, written as canonical JSON; the same values again change nothing."""
    step, text = draft.step, canonical_json(fields)
    if step is None or (
        canonical_answer(step.get("content") or "") == text and (unread or None) == (draft.unread or None)
    ):
        return draft
    return _rewritten(draft, {**step, "content": text}, unread=unread or None)


def set_content(draft: Draft, text: str) -> Draft:
    """The words of the step."""
    step = draft.step
    if step is None or (step.get("content") or "") == text:
        return draft
    return _rewritten(draft, {**step, "content": text or None if step.get("tool_calls") else text})


def answer(draft: Draft, text: str | None = None) -> Draft:
    """The step answers instead of calling a tool, with its own words or with `text` (a refusal)."""
    step = draft.step
    if step is None:
        return draft
    words = text if text is not None else step.get("content") or ""
    changed = {"role": "assistant", "content": words}
    return (
        draft
        if changed == step
        else _rewritten(draft, changed, call=0, raw=False, unread=None, refusing=text is not None)
    )


def add_call(draft: Draft, name: str) -> Draft:
    """Another call in the same step, to be filled in."""
    step, calls = draft.step, draft.calls
    if step is None:
        return draft
    made = {**_new_call(draft, len(calls)), "function": {"name": name, "arguments": "{}"}}
    return _rewritten(draft, {**step, "tool_calls": [*calls, made]}, call=len(calls), raw=False, unread=None)


def remove_call(draft: Draft) -> Draft:
    """Leave the shown call out; the last one cannot be left out."""
    calls = draft.calls
    if len(calls) < 2 or draft.step is None:
        return draft
    del calls[draft.call]
    return _rewritten(draft, {**draft.step, "tool_calls": calls}, call=max(0, draft.call - 1), raw=False, unread=None)


def observe(draft: Draft, results: Sequence[Message], origin: Origin) -> Draft:
    """The tools' results after the shown step, as they came; they are never edited."""
    kept = draft.open + 1
    tail = (*draft.tail[:kept], *results)
    return _next(draft, tail=tail, origins=(*draft.origins[:kept], *([origin] * len(results))))


def go_on(draft: Draft, message: Message, origin: Origin) -> Draft:
    """One more assistant step at the end: the model's, or an empty one to be written."""
    end = len(draft.tail)
    return _next(draft, tail=(*draft.tail, dict(message)), origins=(*draft.origins, origin), open=end, call=0, raw=False, unread=None)  # fmt: skip


def cut(draft: Draft) -> Draft:
    """Drop everything after the corrected step."""
    return (
        draft if len(draft.tail) < 2 else _next(draft, tail=draft.tail[:1], origins=draft.origins[:1], open=0, call=0)
    )


def set_unfixable(draft: Draft, reason: str, note: str = "") -> Draft:
    """Nothing can be corrected, for a reason of `states.UNFIXABLE`."""
    return _next(draft, unfixable=reason, note=note)


def undo(draft: Draft) -> Draft:
    """The value before the last operation; the same where there is none."""
    if not draft.past:
        return draft
    return restored({**draft.past[-1], "past": draft.past[:-1]})


def proposal_of(draft: Draft, original: Sequence[Message]) -> Proposal | None:
    """What would be submitted; None before a step is marked."""
    if draft.marked is None or not draft.tail:
        return None
    written = [draft.marked + i for i, origin in enumerate(draft.origins) if origin == "written" and draft.tail[i]["role"] == "assistant"]  # fmt: skip
    return Proposal(draft.marked, [*original[: draft.marked], *draft.tail], written, suffix_mode(draft))


def suffix_mode(draft: Draft) -> str:
    """How what follows the corrected step came about, in the words of `corrected_traces`."""
    after = set(draft.origins[1:])
    if not after:
        return "truncated"
    if "model" in after:
        return "rolled_forward"
    return "hand_written" if "written" in after and not after & {"reexecuted", "recorded"} else "reexecuted"


def stale_after(draft: Draft) -> int | None:
    """Index of the last message of the run that still stands; None while all do."""
    return draft.marked


def _with_text(draft: Draft, text: str, unread: Mapping[str, str] | None) -> Draft:
    calls = draft.calls
    function = calls[draft.call]["function"]
    calls[draft.call] = {**calls[draft.call], "function": {**function, "arguments": text}}
    return _rewritten(draft, {**(draft.step or {}), "tool_calls": calls}, unread=unread)


def _rewritten(draft: Draft, step: Message, **changes: Any) -> Draft:
    """The shown step replaced by a person's: it becomes theirs, and what came after it is gone."""
    kept = draft.open
    return _next(draft, tail=(*draft.tail[:kept], step), origins=(*draft.origins[:kept], "written"), **changes)


def _next(draft: Draft, **changes: Any) -> Draft:
    before = {
        key: list(value) if isinstance(value, tuple) else value for key, value in vars(draft).items() if key != "past"
    }
    # Every save writes the past too: of a megabyte only a few copies are kept.
    kept = _UNDO if sum(len(str(message)) for message in draft.tail) < _LARGE else _UNDO_LARGE
    return replace(draft, past=(*draft.past, before)[-kept:], typing=False, **changes)


def _editable(message: Message) -> Message:
    """A step of the run as a form can hold it: arguments that came as an object become the string they stand for."""
    calls = []
    for call in message.get("tool_calls") or []:
        raw = call["function"]["arguments"]
        text = raw if isinstance(raw, str) else canonical_json(raw)
        calls.append({**call, "function": {**call["function"], "arguments": text}})
    return {**message, "tool_calls": calls} if calls else {k: v for k, v in message.items() if k != "tool_calls"}


def _new_call(draft: Draft, number: int) -> dict[str, Any]:
    """A call with an id of its own, made from its place, so that the same correction gives the same messages."""
    identity = sha256_of(["correction", draft.marked, draft.open, number])[:9]
    return {"id": f"call_{identity}", "type": "function", "function": {"name": "", "arguments": "{}"}}


def _arguments(call: Mapping[str, Any]) -> dict[str, Any] | None:
    return parse_arguments(call["function"]["arguments"]).value
