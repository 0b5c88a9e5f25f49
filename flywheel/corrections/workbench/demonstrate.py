"""The demonstrate pages: an expert writes the right run from a prompt, step by step, with the pack's tools, instead of correcting a failure.

A step is drawn, validated and undone by the annotation page's own editor: the prompt stands for the run, and everything after it is
written. What a finished run becomes is not this package's affair: `Demonstrations` takes it.
"""

from typing import Any

from starlette.responses import Response

from flywheel.corrections.items import Item
from flywheel.corrections.proposal import Message
from flywheel.corrections.workbench import draft as drafts
from flywheel.corrections.workbench.again import recorded
from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.commands import INTO_A_FIELD, OPERATIONS
from flywheel.corrections.workbench.draft import Draft
from flywheel.corrections.workbench.editor import editor_of, field_id, problems_of, read_fields
from flywheel.corrections.workbench.prompts import Demonstrations, Prompt
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.timeline import shown_steps
from flywheel.errors import FlywheelError
from flywheel.workflows.environment import run_calls
from flywheel.workflows.guesses import unconfirmed_reads

# Drafts lie in the store under this name, which no batch has.
BATCH = "demonstrations"
_COMMANDS = (
    "tool",
    "answer",
    "refusal",
    "raw",
    "next",
    "cut",
    "choose",
    "add-call",
    "remove-call",
    "add-item",
    "remove-item",
    "undo",
)


def prompts_page(call: Call) -> Response:
    """All prompts, and which of them somebody showed."""
    return call.page("prompts.html", prompts=_source(call).prompts(), told="")


def take(call: Call) -> Response:
    """The first prompt that nobody showed."""
    following = next((one for one in _source(call).prompts() if not one.shown_by), None)
    return call.go(f"/demonstrate/{following.id}" if following else "/demonstrate")


def page(call: Call) -> Response:
    """The prompt, and the run as its author has it so far."""
    prompt = _prompt(call)
    return call.page("demonstrate.html", steps=shown_steps(prompt.messages, call.desk.pack.tools), prompt=prompt,
                     **_editor(call, prompt, _draft(call, prompt)))  # fmt: skip


def edit(call: Call) -> Response:
    """One operation on the draft; answers with the editor."""
    prompt = _prompt(call)
    item, draft = _item(call, prompt), _draft(call, prompt)
    draft = read_fields(item, draft, call.form)
    name, _, value = call.form.get("op", "").partition(":")
    try:
        if name == "again":
            changed = _goes_on(call, prompt, item, draft)
        elif name in _COMMANDS:
            changed = OPERATIONS[name](call, item, draft, value)
        else:
            raise Refusal("W19", "there is no such command")
    except Refusal:
        _save(call, prompt, draft)  # what was typed before the command is kept
        raise
    _save(call, prompt, changed)
    return call.page("editor.html", **_editor(call, prompt, changed, focus=name in (*INTO_A_FIELD, "again")))


def fields(call: Call) -> Response:
    """Live validation and autosave: what is wrong with the fields as they are now."""
    prompt = _prompt(call)
    draft = read_fields(_item(call, prompt), _draft(call, prompt), call.form)
    _save(call, prompt, draft)
    return call.page("status.html", **{**_editor(call, prompt, draft), "swap": True})


def submit(call: Call) -> Response:
    """Hand the run in, and go to the next prompt."""
    prompt = _prompt(call)
    item = _item(call, prompt)
    draft = read_fields(item, _draft(call, prompt), call.form)
    _save(call, prompt, draft)
    if problems := problems_of(item, draft).all:
        raise Refusal("W05", problems[0])
    try:
        _source(call).keep(prompt, [*prompt.messages, *draft.tail], by=call.name, effort=call.effort())
    except FlywheelError as refused:
        raise Refusal("W05", refused.what) from None
    call.desk.store.clear_draft(BATCH, prompt.id, call.name)
    return take(call)


def _goes_on(call: Call, prompt: Prompt, item: Item, draft: Draft) -> Draft:
    """What follows the shown step: its calls' results, or the person's next words; then an empty step to write."""
    if draft.step is None:
        raise Refusal("W13", "nothing is written yet")
    if problems := problems_of(item, draft).all:
        raise Refusal("W05", problems[0])
    before = [*prompt.messages, *draft.tail[: draft.open]]
    if draft.calls:
        results, origin = _results(call, prompt, before, draft.step)
    else:
        said = sum(message["role"] == "user" for message in draft.tail[: draft.open])
        if said >= len(prompt.replies):
            raise Refusal("W13", "the person says nothing further", remedy="hand it in, or go on with n")
        results, origin = [{"role": "user", "content": prompt.replies[said]}], "recorded"
    return drafts.go_on(drafts.observe(draft, results, origin), {"role": "assistant", "content": ""}, "written")


def _results(call: Call, prompt: Prompt, before: list[Message], step: Message) -> tuple[list[Message], Any]:
    """What the tools say: in the prompt's own world, replayed up to here, else as its run recorded them."""
    pack = call.desk.pack
    if prompt.seed is not None:
        try:
            world = pack.environment(prompt.seed, prompt.overrides or {})
            for message in before:
                run_calls(world, message)
            return run_calls(world, step), "reexecuted"
        except Exception as error:  # a pack's own code may raise anything; the page must not
            raise Refusal("W13", f"the pack's environment failed: {type(error).__name__}: {error}"[:300]) from None
    careful = unconfirmed_reads(pack.folder)  # read-only by a guess alone: taken to write
    known = [{**tool, "x-access": "write"} if tool["function"]["name"] in careful else tool for tool in pack.tools]
    found = recorded(known, prompt.recorded, before, step) if prompt.recorded else None
    if found is None:
        raise Refusal("W13", "the prompt has no environment, and no recorded result of this very call",
                      remedy="hand it in as it is: one step is a demonstration")  # fmt: skip
    return found, "recorded"


def _source(call: Call) -> Demonstrations:
    found = call.bench.demonstrations
    if found is None:
        raise Refusal("W07", "this workbench has no prompts to show")
    return found


def _prompt(call: Call) -> Prompt:
    found = next((one for one in _source(call).prompts() if one.id == call.item_id), None)
    if found is None:
        raise Refusal("W07", call.item_id[:80])
    if call.name in found.shown_by:
        raise Refusal("W03", "you showed it already", remedy="take another prompt")
    return found


def _item(call: Call, prompt: Prompt) -> Item:
    """The prompt as a run whose next step is missing: what the editor works on."""
    missing = {"role": "assistant", "content": ""}
    return Item(
        prompt.id, 0, [*prompt.messages, missing], call.desk.pack.tools, len(prompt.messages), "", "", "minor", "",
        call.desk.pack.responses,
    )  # fmt: skip


def _draft(call: Call, prompt: Prompt) -> Draft:
    saved = call.desk.store.draft(BATCH, prompt.id, call.name)
    item = _item(call, prompt)
    found = drafts.restored(saved) if saved else Draft()
    return found if found.marked == item.message_index else drafts.mark(Draft(), item.messages, item.message_index)


def _save(call: Call, prompt: Prompt, draft: Draft) -> None:
    try:
        call.desk.store.save_draft(BATCH, prompt.id, call.name, draft.payload())
    except UnicodeError:
        raise Refusal("W18", "it holds text that is no Unicode and cannot be kept") from None


def _editor(call: Call, prompt: Prompt, draft: Draft, *, focus: bool = False) -> dict[str, Any]:
    item = _item(call, prompt)
    return {"item": item, "draft": draft, "editor": editor_of(item, draft, focus=focus), "field_id": field_id, "seen": 0, "unfixable": (),
            "why_no_roll": "an expert shows every step", "swap": False, "prefix": "/demonstrate"}  # fmt: skip
