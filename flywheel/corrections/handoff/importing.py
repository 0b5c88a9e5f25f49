"""Taking a return in: judged once more, then item by item into the event store, where a second time changes nothing.

Partner's people appear as `partner/person`. Pass 1 is claim, submit, check; their reviewer's pass 2 follows when a decision
by another person came along. Whatever the store refuses is told by item, and the rest goes on.
"""

from pathlib import Path
from typing import Any, NamedTuple

from flywheel.corrections.erasing import erased_items
from flywheel.corrections.events import Batch, EventStore, batch_id
from flywheel.corrections.handoff.export import exported_hashes
from flywheel.corrections.handoff.proved import handed_out, handed_responses
from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.handoff.verify.command import verify_folder
from flywheel.corrections.handoff.verify.correction import resulting_messages
from flywheel.corrections.handoff.verify.judge import Answer, Verdict
from flywheel.corrections.items import Item, batch_items
from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.corrections.states import Event, ItemState
from flywheel.errors import FlywheelError
from flywheel.lake import Lake

__all__ = ["Imported", "handed_out", "import_return"]


class Imported(NamedTuple):
    """What a return changed in the store.

    Attributes:
        verdict: the report, as written into the return.
        submitted: items whose answer is new in the store.
        decided: items that a decision of the partner's moved on.
        unchanged: items whose answer and decisions the store knew already.
        not_taken: item id -> why the store or the house's own check did not take it.
    """

    verdict: Verdict
    submitted: list[str]
    decided: list[str]
    unchanged: list[str]
    not_taken: dict[str, str]


def import_return(store: EventStore, lake: Lake, handed: HandedOut, returned: Path) -> Imported:
    """Judge a return and add what is accepted to the store; writes acceptance.json or rejection.json into it.

    Raises FlywheelError when this installation never handed the batch out, or it is closed.
    """
    manifest = handed.manifest
    batch = _ours(store, handed)
    if batch.closed:
        raise FlywheelError("the batch is closed", where=f"{batch.workflow}, week {batch.week}",
                            remedy="what comes after closing belongs to the next batch (flywheel batch list)")  # fmt: skip
    verdict = verify_folder(returned, handed)
    items = batch_items(lake, batch, store)
    done = Imported(verdict, [], [], [], {})
    erased = erased_items(store, batch.name)
    for answer in verdict.accepted:
        if answer.item_id in erased:
            done.not_taken[answer.item_id] = "the item's person was erased"
            continue
        _take(store, batch, answer, handed, items[answer.item_id], str(manifest["partner"]), done)
    return done


def _ours(store: EventStore, handed: HandedOut) -> Batch:
    name = str(handed.manifest["batch_id"])
    batch = next((one for one in store.batches() if batch_id(one.week, one.workflow, one.version) == name), None)
    if batch is None or handed.sha256 not in exported_hashes(store, name):
        raise FlywheelError("this installation never handed that batch out", where=f"batch {name}",
                            remedy="name the folder that flywheel batch export wrote, on the machine that wrote it")  # fmt: skip
    return batch


def _take(
    store: EventStore, batch: Batch, answer: Answer, handed: HandedOut, item: Item, partner: str, done: Imported
) -> None:  # fmt: skip
    name = batch_id(batch.week, batch.workflow, batch.version)
    before = store.state(item.item_id, name)
    try:
        after = _submit(store, name, answer, handed, item, partner, before)
        final = _decide(store, name, answer, batch.qa_mode, partner, after)
    except FlywheelError as error:
        done.not_taken[item.item_id] = error.what
        final = after = store.state(item.item_id, name)
    if _digest(after) == answer.digest and _digest(before) != answer.digest:
        done.submitted.append(item.item_id)
    if final.status != after.status:
        done.decided.append(item.item_id)
    if final == before and item.item_id not in done.not_taken:
        done.unchanged.append(item.item_id)


def _submit(
    store: EventStore, name: str, answer: Answer, handed: HandedOut, item: Item, partner: str, state: ItemState
) -> ItemState:  # fmt: skip
    """Claim, submit and check; goes on where an interrupted import stopped."""
    actor = f"{partner}/{answer.row['actor_ref']}"
    payload, problems = _payload(answer, handed, item)
    if problems:
        raise FlywheelError(
            f"the house's own check: {problems[0]}", where=f"item {item.item_id}", remedy="tell the maintainers"
        )
    if _digest(state) != answer.digest:
        if state.status not in ("queued", "claimed") or state.annotator not in (None, actor):
            raise FlywheelError(f"{state.annotator} works or worked on it, and it is {state.status}",
                                where=f"item {item.item_id}", remedy="their answer stands; agree who does which items")  # fmt: skip
        if state.status == "queued":
            store.append(name, Event(item.item_id, "claim", actor, {"annotator_kind": "human"}))
        state = store.append(name, Event(item.item_id, "submit", actor, payload))
    if state.status == "submitted":
        state = store.append(name, Event(item.item_id, "check", "system", {"problems": []}))
    return state


def _payload(answer: Answer, handed: HandedOut, item: Item) -> tuple[dict[str, Any], list[str]]:
    row = answer.row
    names = ("guideline_version", "active_ms", "started_at", "submitted_at", "rationale", "failure_code")
    story = {"answer_sha256": answer.digest, "batch_sha256": handed.sha256, "part": answer.part,
             **{name: row[name] for name in names if name in row}}  # fmt: skip
    if answer.kind == "unfixable":
        return {"unfixable": row["code"], "note": row["note"], "handoff": story}, []
    messages = resulting_messages(row, handed.items[answer.item_id])
    proposal = Proposal(row["first_bad_message_index"], messages, row["trainable_indices"], row["suffix_mode"])
    return {**proposal.payload(), "handoff": story}, auto_check(
        proposal, item.messages, item.tools, handed_responses(handed)
    )


def _decide(store: EventStore, name: str, answer: Answer, qa_mode: str, partner: str, state: ItemState) -> ItemState:
    """The partner's own pass 2 and, in three-pass mode, their adjudication; an audit stays ours."""
    for decision in answer.decisions:
        actor, verdict = f"{partner}/{decision['actor_ref']}", decision["verdict"]
        note = {"note": decision.get("note") or "decided by the partner", "handoff": {"decided_at": decision["at"]}}
        if decision["role"] == "reviewer" and verdict != "return":
            if state.status == "auto_checked":
                state = store.append(name, Event(answer.item_id, "start_review", actor))
            if state.status == "in_review" and state.reviewer == actor:
                kind = "dispute" if verdict == "dispute" else "drop" if answer.kind == "unfixable" else "accept"
                state = store.append(name, Event(answer.item_id, kind, actor, note))
        elif decision["role"] == "adjudicator" and qa_mode == "three" and verdict == "accept":
            if state.status == "disputed":
                state = store.append(name, Event(answer.item_id, "start_adjudication", actor))
            if state.status == "adjudicating" and state.adjudicator == actor:
                if answer.kind == "unfixable":  # what they accept is the answer, and that says why it cannot be fixed
                    state = store.append(name, Event(answer.item_id, "drop", actor, {**note, "confirmed": True}))
                else:
                    state = store.append(name, Event(answer.item_id, "uphold", actor, note))
    return state


def _digest(state: ItemState) -> str | None:
    return ((state.proposal or {}).get("handoff") or {}).get("answer_sha256")
