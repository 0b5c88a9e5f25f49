"""Pass 1, the annotation page: every key is one small request that changes the draft and draws the editor anew.

A draft is saved before the answer, so nothing typed is lost that the page has shown as kept. Only claiming, submitting,
giving back and reporting touch the event log.
"""

from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response

from flywheel.corrections.items import Item
from flywheel.corrections.states import UNFIXABLE
from flywheel.corrections.workbench import draft as drafts
from flywheel.corrections.workbench.call import Call
from flywheel.corrections.workbench.catalogue import msg
from flywheel.corrections.workbench.commands import INTO_A_FIELD, OPERATIONS
from flywheel.corrections.workbench.draft import Draft, proposal_of
from flywheel.corrections.workbench.editor import (
    editor_of,
    field_id,
    problems_of,
    read_fields,
)
from flywheel.corrections.workbench.rules import Refusal
from flywheel.corrections.workbench.similar import apply_patch, patch_of
from flywheel.corrections.workbench.timeline import shown_steps

MOST_SIMILAR = 50


def take(call: Call) -> Response:
    """Claim the next item and go to it."""
    item_id = call.desk.take_next(call.name, "annotator", "claim")
    return call.go(f"/annotate/{item_id}" if item_id else "/?done=annotate")


def page(call: Call) -> Response:
    """The item as its annotator works on it; raises Refusal W02 or W03 when it is not theirs."""
    call.desk.refresh()
    return _page(call, call.item_id)


def edit(call: Call) -> Response:
    """One operation on the draft; answers with the editor."""
    item, draft = _mine(call)
    draft = read_fields(item, draft, call.form)
    name, _, value = call.form.get("op", "").partition(":")
    operation = OPERATIONS.get(name)
    if operation is None:
        raise Refusal("W19", "there is no such command")
    try:
        changed = operation(call, item, draft, value)
    except Refusal:
        _save(call, draft)  # what was typed before the command is kept
        raise
    _save(call, changed)
    focus = name in INTO_A_FIELD
    return call.page("editor.html", **_editor(call, item, changed, focus=focus))


def fields(call: Call) -> Response:
    """Live validation and autosave: what is wrong with the fields as they are now."""
    item, draft = _mine(call)
    draft = read_fields(item, draft, call.form)
    _save(call, draft)
    return call.page("status.html", **{**_editor(call, item, draft), "swap": True})


def submit(call: Call) -> Response:
    """Submit, and with `similar` the same patch for the items that were ticked; answers with the next item's page."""
    item, draft = _mine(call)
    draft = read_fields(item, draft, call.form)
    _save(call, draft)
    problems = problems_of(item, draft)
    if problems.all:
        raise Refusal("W05", problems.all[0])
    effort = call.effort()
    if draft.unfixable:
        call.desk.submit(call.item_id, call.name, None, after=call.seen, unfixable=draft.unfixable, note=draft.note, effort=effort)  # fmt: skip
    else:
        proposal = proposal_of(draft, item.messages)
        if draft.refusing and draft.step:
            call.desk.last_refusal[call.name] = str(draft.step.get("content") or "")
        call.desk.submit(call.item_id, call.name, proposal, after=call.seen, origins=list(draft.origins), effort=effort)
    alike = call.form.get("similar") and not _adjudicates(call)
    told = _patch_similar(call, item, draft) if alike else ""
    return _next_page(call, told or msg("Kept: the correction is with the reviewers."))


def similar(call: Call) -> Response:
    """The other queued items that the same patch corrects, to be ticked."""
    item, draft = _mine(call)
    draft = read_fields(item, draft, call.form)
    _save(call, draft)
    problems = problems_of(item, draft).all
    if draft.unfixable or problems:
        raise Refusal("W05", problems[0] if problems else "an item that cannot be fixed has no patch")
    return call.page("similar.html", found=_similar(call, item, draft), item=item, effort={})


def give_back(call: Call) -> Response:
    """Leave the item to others; the draft stays with the person."""
    call.desk.give_back(call.item_id, call.name, after=call.seen)
    return _next_page(call, msg("Given back: the item waits for somebody.")) if call.form.get("next") else call.go("/")


def claim_again(call: Call) -> Response:
    """Claim a certain item, e.g. one whose lease ran out; the draft is still there."""
    call.desk.append(call.item_id, "claim", call.name, after=call.seen)
    return call.go(f"/annotate/{call.item_id}")


def report(call: Call) -> Response:
    """Report personal data: nobody is given the item before somebody has looked after it."""
    call.desk.report_privacy(call.item_id, call.name, call.form.get("note", "")[:500], after=call.seen)
    if call.form.get("from") == "annotate":
        return _next_page(call, msg("Reported: the item is kept away from everybody until it was looked after."))
    return call.go("/")


def whole_text(call: Call) -> Response:
    """One message's text in full: what a page shows clipped."""
    item = call.desk.item(call.item_id)
    index, part = call.request.query_params.get("message", ""), call.request.query_params.get("call", "")
    if not index.isdecimal() or int(index) >= len(item.messages):
        raise Refusal("W19", "there is no such message")
    message = item.messages[int(index)]
    calls = message.get("tool_calls") or []
    text = calls[int(part)]["function"]["arguments"] if part.isdecimal() and int(part) < len(calls) else message.get("content")  # fmt: skip
    return call.page("text.html", text=text or "")


def _mine(call: Call) -> tuple[Item, Draft]:
    """The item and the person's draft of it; raises Refusal when it is not theirs now."""
    place = call.desk.refresh() and call.desk.place(call.item_id)
    if call.desk.board.closed:
        raise Refusal("W08")
    writes = place.state.status == "claimed" or (place.state.status == "adjudicating" and place.state.answers)
    if not writes or place.holder() != call.name:
        expired = place.roles.get(call.name) == "annotator" and place.state.status in ("queued", "claimed")
        if expired and call.form.get("at"):  # what was typed since the last save is kept as well
            _save(call, read_fields(call.desk.item(call.item_id), _draft(call), call.form))
        raise Refusal("W02" if expired else "W03")
    return call.desk.item(call.item_id), _draft(call)


def _draft(call: Call) -> Draft:
    """What the person has made of the item so far; after a return, what they submitted."""
    saved = call.desk.store.draft(call.desk.board.batch, call.item_id, call.name)
    if saved:
        return drafts.restored(saved)
    state, item = call.desk.place(call.item_id).state, call.desk.item(call.item_id)
    if state.answers and not state.proposal:  # the step is known: it is where the answers differ
        return drafts.mark(Draft(), item.messages, item.message_index)
    return drafts.begin_again(state.proposal or {})


def _adjudicates(call: Call) -> bool:
    return call.desk.place(call.item_id).roles.get(call.name) == "adjudicator"


def _page(call: Call, item_id: str, told: str = "") -> Response:
    call.request.path_params["item"] = item_id
    item, draft = _mine(call)
    place = call.desk.place(item_id)
    returned = next((step.words for step in reversed(place.trail) if step.kind == "return"), "")
    values = _editor(call, item, draft)
    saved = call.desk.store.draft(call.desk.board.batch, item_id, call.name) or {}
    response = call.page(
        "annotate.html", steps=shown_steps(item.messages, item.tools, suspected=item.message_index), told=told,
        returned=returned, effort=saved.get("effort") or {}, headers={"HX-Push-Url": f"/annotate/{item_id}"}, **values,
    )  # fmt: skip
    response.background = BackgroundTask(_prepare, call, item_id)
    return response


def _prepare(call: Call, item_id: str) -> None:
    """While a person reads this item, do what the next one's page will need: its schemas compiled, its run looked at."""
    board, place = call.desk.board, call.desk.board.places.get(item_id)
    upcoming = board.similar(place.cluster)[:1] if place else []
    for following in upcoming or board.with_status("queued")[:1]:
        item = call.desk.items[following.item_id]
        shown_steps(item.messages, item.tools)


def _next_page(call: Call, told: str) -> Response:
    """The next item's page in the very answer, so that there is no second request; the queue page when none is left."""
    if _adjudicates(call):
        return call.go("/")
    item_id = call.desk.take_next(call.name, "annotator", "claim")
    if not call.swaps or item_id is None:
        return call.go(f"/annotate/{item_id}" if item_id else "/?done=annotate")
    return _page(call, item_id, told)


def _editor(call: Call, item: Item, draft: Draft, *, focus: bool = False) -> dict[str, Any]:
    place = call.desk.place(item.item_id)
    last = draft.tail[-1] if draft.tail else None
    rolls = msg("start the workbench with --model-url to let the current checkpoint go on") if call.bench.model is None else (
        "" if last and last["role"] == "tool" else msg("run the tool first: the model goes on from a result")
    )  # fmt: skip
    return {
        "item": item, "place": place, "draft": draft, "editor": editor_of(item, draft, focus=focus), "field_id": field_id,
        "seen": place.sequence, "unfixable": UNFIXABLE, "why_no_roll": rolls, "swap": False,
        "ahead": call.desk.board.ahead(place),
    }  # fmt: skip


def _save(call: Call, draft: Draft) -> None:
    payload = {**draft.payload(), "effort": call.effort()}
    try:
        call.desk.store.save_draft(call.desk.board.batch, call.item_id, call.name, payload)
    except UnicodeError:
        raise Refusal("W18", "the run holds text that is no Unicode and cannot be kept") from None


def _similar(call: Call, item: Item, draft: Draft) -> list[tuple[str, Any]]:
    """(item id, corrected call) of the queued items of the cluster that the patch fits."""
    proposal = proposal_of(draft, item.messages)
    patch = (
        patch_of(item.messages, proposal)
        if proposal and proposal.first_bad_message_index == item.message_index
        else None
    )
    if patch is None:
        return []
    found = []
    for place in call.desk.board.similar(item.failure_cluster):
        mine = place.roles.get(call.name, "annotator") == "annotator" and call.desk.matching.fits(
            place.item_id, call.name
        )
        if place.reported or not mine or len(found) >= MOST_SIMILAR:
            continue
        fitting = apply_patch(patch, call.desk.items[place.item_id])
        if fitting is not None:
            found.append((place.item_id, fitting))
    return found


def _patch_similar(call: Call, item: Item, draft: Draft) -> str:
    """Claim and submit the ticked items, each on its own; one that somebody else took meanwhile is left alone."""
    ticked, done = set(call.lists.get("tick", [])), 0
    for item_id, proposal in _similar(call, item, draft):
        if item_id not in ticked:
            continue
        try:
            place = call.desk.append(item_id, "claim", call.name, after=call.desk.place(item_id).sequence)
            call.desk.submit(item_id, call.name, proposal, after=place.sequence, origins=["written"],
                             patched_from=item.item_id, effort={})  # fmt: skip
            done += 1
        except Refusal:
            continue
    return call.say(msg("Kept, with {done} similar items: each is reviewed on its own.")).format(done=done)
