"""Passes 2 and 3 and the audit: a second, a third and a fourth person judge a correction, names hidden.

The three pages differ in who may open them, what they may say, and what becomes of it; what is shown is the same: the
run, the correction, their difference by JSON path, and what the tools said to it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from flywheel.corrections.items import Item
from flywheel.corrections.proposal import Message
from flywheel.corrections.states import DEFECTS, ItemState
from flywheel.corrections.workbench.call import Call, Page
from flywheel.corrections.workbench.catalogue import msg
from flywheel.corrections.workbench.lot import for_auditor, lot_of
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.timeline import ShownStep, shown_steps
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.diff import Change, diff
from flywheel.toolcalls.structured_answers import answer_fields

REASONS = (
    "another step was wrong first",
    "wrong tool",
    "wrong arguments",
    "not what the guidelines say",
    "another answer is needed",
)


class Decision(NamedTuple):
    """One thing that may be said: its key, its event, its label, and whether words are asked for (and must be given)."""

    key: str
    event: str
    label: str
    words: str = ""
    picks: tuple[str, ...] = ()


class Pass(NamedTuple):
    """One page: its address, the role it needs, the event that opens an item, and what may be decided."""

    path: str
    role: str
    title: str
    opens: str
    status: str
    decisions: tuple[Decision, ...]


PASSES = {
    "review": Pass("review", "reviewer", "Review", "start_review", "in_review", (
        Decision("a", "accept", "Accept"),
        Decision("r", "return", "Return", "reason", REASONS),
        Decision("d", "dispute", "Dispute", "reason", REASONS),
    )),
    "adjudicate": Pass("adjudicate", "adjudicator", "Adjudicate", "start_adjudication", "adjudicating", (
        Decision("u", "uphold", "Uphold the correction", "note", ("the guidelines ask for exactly this", "both are right; this is good enough")),
        Decision("d", "drop", "Drop the item", "note", ("the correction is wrong", "the guidelines do not decide it", "no truth to be found")),
    )),
    "audit": Pass("audit", "auditor", "Audit", "", "accepted", (
        Decision("p", "passed", "Pass"),
        Decision("f", "failed", "Fail", "note", DEFECTS),
    )),
}  # fmt: skip


class Shown(NamedTuple):
    """One answer of a conflict: its number, who gave it and when, its step, and how that differs from the run's own."""

    number: int
    given_by: str
    week: str
    steps: list[ShownStep]
    difference: "Compared"


class Compared(NamedTuple):
    """The corrected step beside the one it replaces.

    Attributes:
        tool: (before, after) where the tool differs.
        changes: of the arguments, call by call; of a structured answer's fields.
        words: (before, after) where what was said differs.
    """

    tool: tuple[str, str] | None
    changes: list[Change]
    words: tuple[str, str] | None


def compared(before: Message, after: Message) -> Compared:
    """The difference of two assistant steps; two structured answers are compared field by field, as arguments are."""
    old, new = before.get("tool_calls") or [], after.get("tool_calls") or []
    fields = [answer_fields(message.get("content")) for message in (before, after) if not message.get("tool_calls")]
    if len(fields) == 2 and None not in fields and (changes := diff(*fields)):
        return Compared(None, changes, None)
    names = [" + ".join(call["function"]["name"] for call in calls) or "(answers)" for calls in (old, new)]
    values = [[_arguments(call) for call in calls] for calls in (old, new)]
    first, second = (value[0] if len(value) == 1 else value for value in values)
    if not old or not new:
        first, second = (first or {}), (second or {})
    words = (str(before.get("content") or ""), str(after.get("content") or ""))
    return Compared((names[0], names[1]) if names[0] != names[1] else None, diff(first, second) if old or new else [],
                    words if words[0] != words[1] else None)  # fmt: skip


def origins_of(proposal: dict[str, Any]) -> Sequence[str]:
    """Where each message of a correction came from; told from the messages where its author's page did not say.

    Planted corrections come from no page: they must look like the others.
    """
    if proposal.get("origins"):
        return proposal["origins"]
    first, mine = proposal["first_bad_message_index"], set(proposal["trainable_indices"])
    return ["written" if index in mine else "model" if message["role"] == "assistant" else "reexecuted"
            for index, message in enumerate(proposal["messages"][first:], first)]  # fmt: skip


def take(pass_: Pass) -> Page:
    """The page function that opens the next item of a pass."""

    def taken(call: Call) -> Response:
        item_id = _next(call, pass_)
        return call.go(f"/{pass_.path}/{item_id}" if item_id else f"/?done={pass_.path}")

    return taken


def page(pass_: Pass) -> Page:
    """The page function that shows an item to its judge."""

    def shown(call: Call) -> Response:
        call.desk.refresh()
        return _page(call, pass_, call.item_id)

    return shown


def decide(pass_: Pass) -> Page:
    """The page function that takes a decision and shows the next item."""

    def decided(call: Call) -> Response:
        call.desk.refresh()
        place = _theirs(call, pass_, call.item_id)
        if call.form.get("decision") == "give_back" and pass_.opens:
            call.desk.give_back(call.item_id, call.name, after=call.seen)
            return _go_on(call, pass_, msg("Given back."))
        decision = next((one for one in decisions_of(pass_, place.state) if one.event == call.form.get("decision")), None)  # fmt: skip
        if decision is None:
            raise Refusal("W19", "there is no such decision here")
        if decision.event == "write":
            return call.go(f"/annotate/{call.item_id}")
        words = call.form.get("words", "").strip()[:2_000]
        if decision.words and not words:
            raise Refusal("W12")
        payload: dict[str, Any] = {"effort": call.effort(), **({decision.words: words} if decision.words else {})}
        event, _, chosen = decision.event.partition("-")
        if event == "confirm":
            payload["confirmed"], event = True, "drop"
        if chosen:
            payload["chosen"] = int(chosen)
        if pass_.path == "audit":
            defect = {"defect": words if words in DEFECTS else "major"} if event == "failed" else {}
            payload, event = {**payload, "verdict": event, **defect}, "audit"
        if event == "drop" and pass_.path == "review":
            payload["note"] = "confirmed: cannot be fixed"
        call.desk.append(call.item_id, event, call.name, after=call.seen, **payload)
        return _go_on(call, pass_, f"{call.say(decision.label)}: {call.say(msg('kept'))}.")

    return decided


def decisions_of(pass_: Pass, state: ItemState) -> tuple[Decision, ...]:
    """What may be said about this item: that it cannot be fixed is confirmed; of a conflict one answer is chosen, or another written."""
    reason = (state.proposal or {}).get("unfixable")
    confirm = msg("Confirm: the run is right") if reason == "not_a_failure" else msg("Confirm: cannot be fixed")
    if pass_.path == "review" and reason:
        return (Decision("a", "drop", confirm), *pass_.decisions[1:])
    if pass_.path == "adjudicate" and reason:
        return (
            Decision("u", "confirm", confirm, "note", ("the reason holds", "the guidelines say so")),
            Decision("d", "drop", "Drop the item", "note", ("the reason does not hold", "the guidelines do not decide it", "no truth to be found")),
        )  # fmt: skip
    if pass_.path == "adjudicate" and state.answers:
        uphold, drop = pass_.decisions
        chosen = [
            Decision(str(number) if number < 10 else "", f"uphold-{number - 1}", f"Answer {number} is right", "note", uphold.picks)
            for number in range(1, len(state.answers) + 1)
        ]  # fmt: skip
        written = [uphold._replace(label=msg("The written one is right"))] if state.proposal else []
        return (*chosen, *written, Decision("e", "write", "Write another"), drop._replace(label="None can be right"))
    return pass_.decisions


def _go_on(call: Call, pass_: Pass, told: str) -> Response:
    """The next item's page in the very answer, or the start when none is left."""
    item_id = _next(call, pass_)
    if not call.swaps or item_id is None:
        return call.go(f"/{pass_.path}/{item_id}" if item_id else f"/?done={pass_.path}")
    return _page(call, pass_, item_id, told)


def _next(call: Call, pass_: Pass) -> str | None:
    if pass_.path != "audit":
        return call.desk.take_next(call.name, pass_.role, pass_.opens)
    lot = lot_of(call.desk.store, call.desk.refresh())
    if not lot.closed:
        raise Refusal("W17")
    return next((place.item_id for place in for_auditor(call.desk.store, call.desk.board, lot, call.name)), None)


def _theirs(call: Call, pass_: Pass, item_id: str) -> Any:
    """The item's place; raises Refusal when this person may not judge it now."""
    place = call.desk.place(item_id)
    if pass_.path == "audit":
        lot = lot_of(call.desk.store, call.desk.board)
        if not lot.closed:
            raise Refusal("W17")
        if item_id not in {one.item_id for one in lot.waiting}:
            raise Refusal("W03", "it was not drawn, or was looked at already")
    elif place.state.status != pass_.status or place.holder() != call.name:
        raise Refusal("W03")
    if place.roles.get(call.name, pass_.role) != pass_.role:
        raise Refusal("W06", f"you were the item's {place.roles[call.name]}")
    if pass_.path == "audit" and item_id in call.desk.store.not_for(call.desk.board.batch, call.name)["auditor"]:
        raise Refusal("W06", "the item is not for you")  # nor is what it shows
    return place


def _page(call: Call, pass_: Pass, item_id: str, told: str = "") -> Response:
    place, item = _theirs(call, pass_, item_id), call.desk.item(item_id)
    proposal = place.state.proposal or {}
    values: dict[str, Any] = {"corrected": [], "difference": None, "marked": None, "origins": []}
    if proposal and not proposal.get("unfixable"):
        index, messages = proposal["first_bad_message_index"], proposal["messages"]
        origins = origins_of(proposal)
        values = {
            "corrected": shown_steps(messages, item.tools, first=index, origins=origins), "marked": index, "origins": origins,
            "difference": compared(item.messages[index], messages[index]),
        }  # fmt: skip
    board, waiting = call.desk.board, {"review": "auto_checked", "adjudicate": "disputed"}.get(pass_.path)
    if waiting:
        left = len(board.with_status(waiting))
    else:
        left = len(for_auditor(call.desk.store, board, lot_of(call.desk.store, board), call.name)) - 1
    return call.page(
        "judge.html", pass_=pass_, decisions=decisions_of(pass_, place.state), answers=_answers(item, place.state), item=item, place=place, proposal=proposal,
        seen=place.sequence, steps=shown_steps(item.messages, item.tools, suspected=item.message_index), told=told,
        spoken=[step for step in place.trail if step.kind in ("return", "dispute", "uphold") and step.words], left=left, effort={},
        headers={"HX-Push-Url": f"/{pass_.path}/{item_id}"}, **values,
    )  # fmt: skip


def _answers(item: Item, state: ItemState) -> list[Shown]:
    """The answers of a conflict, with the names: who gave them is what the adjudicator has to weigh."""
    shown = []
    for number, answer in enumerate(state.answers, 1):
        messages, index = answer["proposal"]["messages"], answer["proposal"]["first_bad_message_index"]
        steps, difference = (
            shown_steps(messages, item.tools, first=index),
            compared(item.messages[index], messages[index]),
        )
        shown.append(
            Shown(number, ", ".join(answer["given_by"]), answer["from_week"] or "demonstration", steps, difference)
        )
    return shown


def _arguments(call: dict[str, Any]) -> Any:
    raw = call["function"]["arguments"]
    value = parse_arguments(raw).value
    return raw if value is None else value
