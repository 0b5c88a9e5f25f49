"""Lots: a batch's accepted items, closed, sampled, audited, and sent back or refused as a whole.

The sample is drawn after the lot closes, with a salt whose hash was recorded before anybody worked on it and which is shown
only in the close_lot event: nobody could know what would be looked at, and everybody can check that nobody chose it.
Acceptance number 0 for critical and major defects; minor ones are reported. A lot that fails goes back to other reviewers,
without what was audited; one that fails twice is refused. A lot is one batch: a small one is audited almost whole, which is
stricter than pooling it with the next weeks'.
"""

from typing import Any, NamedTuple

from flywheel.corrections.audit import draw, operating_curve, sample_size
from flywheel.corrections.batches import commit_to_salt, is_closed, now, opening, record
from flywheel.corrections.database import Connection
from flywheel.corrections.events import EventStore, events_in
from flywheel.corrections.guard import lot_is_closed
from flywheel.corrections.log import BATCH, events_of, insert
from flywheel.corrections.states import OPEN, Event, ItemState, check, fold
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Quality

ATTEMPTS = 2


class Lot(NamedTuple):
    """Where a batch's lot is.

    Attributes:
        status: open, auditing, passed, sent_back (under review again) or refused.
        attempt: 1, or 2 after it was sent back; 0 before it first closed.
        items, drawn, waiting: accepted items of the attempt, those drawn from them, and those of the drawn not yet audited.
        failed: items of this attempt that failed the audit, with their class of defect.
        plan: the sampling plan as the close_lot event holds it: lot, sample, defective_share, confidence, curve.
    """

    status: str
    attempt: int
    items: list[str]
    drawn: list[str]
    waiting: list[str]
    failed: dict[str, str]
    plan: dict[str, Any]


def lot_of(store: EventStore, batch: str) -> Lot:
    """The lot of a batch, folded from its events."""
    with store.database.read() as connection:
        return _lot(connection, batch)


def close_lot(
    store: EventStore, batch: str, *, by: str = "system", quality: Quality = Quality(), deadline: bool = False  # noqa: B008
) -> Lot:  # fmt: skip
    """Close the lot and draw its sample.

    Args:
        deadline: close although items are open; they roll over to the next batch.

    Raises FlywheelError while items of the batch are open, or when the lot is closed already.
    """
    with store.database.write() as connection:
        if is_closed(connection, batch) or lot_is_closed(connection, batch):
            raise FlywheelError("the lot is closed already", where=f"batch {batch}", remedy="audit what was drawn")
        states = _states(connection, batch)
        waiting = [key for key, state in states.items() if state.status in OPEN]
        if waiting and not deadline:
            raise FlywheelError(f"{len(waiting)} items of the lot are still open, e.g. {waiting[0]}", where=f"batch {batch}",
                                remedy="finish them first; at the deadline they roll over")  # fmt: skip
        accepted = sorted(key for key, state in states.items() if state.status == "accepted" and state.audit is None)
        attempt = _lot(connection, batch).attempt + 1
        asked = "SELECT salt FROM salts WHERE batch = ? AND attempt = ?"
        salt = connection.execute(asked, (batch, attempt)).fetchone()[0]
        plan = _plan(len(accepted), opening(connection, batch)["qa_mode"], quality)
        drawn = draw(accepted, plan["sample"], lot_id=f"{batch}|{attempt}|{salt}")
        payload = {"attempt": attempt, "items": accepted, "salt": salt, "plan": plan, "drawn": drawn,
                   "reason": "deadline" if deadline and waiting else "complete", "left_open": waiting}  # fmt: skip
        record(connection, batch, "close_lot", payload, by=by)
        for item_id in drawn:
            connection.execute("INSERT INTO drawn VALUES (?, ?)", (batch, item_id))
        return _lot(connection, batch)


def settle_lot(store: EventStore, batch: str, *, by: str = "system") -> Lot:
    """Once all drawn items are audited: send a failed lot back to other reviewers, the first time; else change nothing."""
    with store.database.write() as connection:
        lot = _lot(connection, batch)
        if lot.status != "failed":
            return lot
        salt = commit_to_salt(connection, batch, lot.attempt + 1)
        payload = {"attempt": lot.attempt + 1, "lot_salt_sha256": salt, "failed": lot.failed}
        record(connection, batch, "reopen_lot", payload, by=by)
        for item_id in sorted(set(lot.items) - set(lot.drawn)):
            event = Event(item_id, "reopen", "system", {"reason": "its lot failed the audit"}, now())
            events = events_of(connection, item_id, batch)
            if any("erased" in one.payload for one in events):
                continue  # nobody can look at it again
            state = fold(events)
            if state.status == "accepted":
                check(state, event)
                insert(connection, batch, event)
        return _lot(connection, batch)


def _plan(size: int, qa_mode: str, quality: Quality) -> dict[str, Any]:
    share, confidence = quality.audit_defective_share, quality.audit_confidence
    sample = sample_size(size, defective_share=share, confidence=confidence)
    if qa_mode == "two":  # everyone annotated or reviewed everything: nobody is left who could audit
        sample = 0
    curve = {f"{at:.0%}": round(chance, 3) for at, chance in operating_curve(size, sample).items()}
    return {"lot": size, "sample": sample, "acceptance_number": 0, "defective_share": share, "confidence": confidence,
            "qa_mode": qa_mode, "chance_of_acceptance_by_share_of_bad_items": curve}  # fmt: skip


def _states(connection: Connection, batch: str) -> dict[str, ItemState]:
    """States of the batch's own items, erased ones left out."""
    own = set(opening(connection, batch)["item_ids"])
    found = {key: events for key, events in events_in(connection, batch).items() if key in own}
    return {key: fold(events) for key, events in found.items() if not any("erased" in e.payload for e in events)}


def _lot(connection: Connection, batch: str) -> Lot:
    told = [event for event in events_of(connection, BATCH, batch) if event.kind in ("close_lot", "reopen_lot")]
    closed = [event.payload for event in told if event.kind == "close_lot"]
    if not closed:
        return Lot("open", 0, [], [], [], {}, {})
    last = closed[-1]
    audited = {}
    for item_id in last["drawn"]:
        events = events_of(connection, item_id, batch)
        if any("erased" in event.payload for event in events):
            continue  # erasure outranks the audit; the item is nobody's any more
        state = fold(events)
        if state.status not in ("quarantined", "withdrawn") or state.audit:
            audited[item_id] = state
    waiting = [key for key, state in audited.items() if state.audit is None]
    failed = {key: str(state.defect) for key, state in audited.items() if state.audit == "failed"}
    status = (
        "auditing" if waiting else "passed" if not failed else "failed" if last["attempt"] < ATTEMPTS else "refused"
    )
    if told[-1].kind == "reopen_lot":
        status, waiting = "sent_back", []
    return Lot(status, last["attempt"], last["items"], last["drawn"], waiting, failed, last["plan"])


def plan_text(plan: dict[str, Any]) -> str:
    """The plan in one sentence, with its operating curve."""
    if not plan:
        return "no lot was closed"
    if plan["qa_mode"] == "two":
        return f"lot of {plan['lot']}: not audited, QA mode two has no third person"
    curve = ", ".join(
        f"{chance:.0%} at {at} bad" for at, chance in plan["chance_of_acceptance_by_share_of_bad_items"].items()
    )
    return (
        f"lot of {plan['lot']}: {plan['sample']} audited, accepted with 0 defects; chance that it is accepted: {curve}"
    )
