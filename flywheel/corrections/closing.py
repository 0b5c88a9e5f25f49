"""When a batch is over: complete and audited, or at the pack's deadline; and what of it rolls over to the next batch."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from flywheel.corrections.batches import in_force
from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.lots import close_lot, lot_of, settle_lot
from flywheel.corrections.states import OPEN, ItemState
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack


class Progress(NamedTuple):
    """One batch that is not closed: its id, and in one sentence what it waits for."""

    batch: str
    waits_for: str


class Closed(NamedTuple):
    """What `close_due_batches` did: ids of the batches it closed with the reason, and what the open ones wait for."""

    closed: dict[str, str]
    waiting: list[Progress]


def close_due_batches(store: EventStore, pack: Pack, now: datetime) -> Closed:
    """Close every batch of the pack's workflow that is complete, or past its deadline with enough done.

    Expired leases are given back first. A lot closes when nothing is open, or at the deadline; the batch closes when its
    lot is audited. A lot that failed goes back to other reviewers by itself. An empty batch closes at its deadline.

    Args:
        now: with a time zone.
    """
    closed: dict[str, str] = {}
    waiting: list[Progress] = []
    for batch in current_batches(store, pack.name):
        if batch.closed:
            continue
        said = _close(store, pack, batch, now)
        if said in ("complete", "deadline"):
            closed[batch.name] = said
        else:
            waiting.append(Progress(batch.name, said))
    return Closed(closed, waiting)


def close_now(store: EventStore, pack: Pack, batch: Batch, *, by: str) -> str:
    """Close a batch because a person says so; returns in one sentence what became of it.

    The lot closes with what is done, what is open rolls over, and the batch closes once the drawn items are audited: saying it again
    after the audit closes it. Raises FlywheelError for a closed batch.
    """
    if batch.closed:
        raise FlywheelError("the batch is closed already", where=f"batch {batch.name}", remedy="run learn for its week")
    store.expire_leases(batch.name)
    if settle_lot(store, batch.name).status in ("open", "sent_back"):
        close_lot(store, batch.name, by=by, quality=pack.settings.quality, deadline=True)
    lot = settle_lot(store, batch.name)
    if lot.waiting:
        return (
            f"the lot is closed; {len(lot.waiting)} of {len(lot.drawn)} drawn items wait for their audit\n"
            f"  next: an auditor, in flywheel workbench --workflow {batch.workflow}; nobody audits what they had a part in.\n"
            f"  Then again: flywheel batch close {batch.workflow} {batch.week} --by {by}"
        )
    if lot.status == "sent_back":
        return "the lot failed its audit: other reviewers look at it again"
    store.close_batch(batch.name, reason=f"closed by {by}", by=by)
    states = own_states(store, batch).values()
    done = sum(state.status not in OPEN for state in states)
    return f"closed: {done} of {len(states)} items are done; next: flywheel run --workflow {batch.workflow} --week {batch.week} --stage learn"


def deadline(batch: Batch, pack: Pack) -> datetime:
    """When the batch closes with what is done."""
    return datetime.fromisoformat(batch.opened_at).astimezone(UTC) + timedelta(days=pack.settings.batch.deadline_days)


def _close(store: EventStore, pack: Pack, batch: Batch, now: datetime) -> str:
    """complete or deadline when it was closed, else what it waits for."""
    store.expire_leases(batch.name, now=now)
    lot = settle_lot(store, batch.name)
    due, wanted = deadline(batch, pack), pack.settings.batch.min_fraction
    if lot.status in ("open", "sent_back"):
        states = own_states(store, batch)
        still = sum(state.status in OPEN for state in states.values())
        done = len(states) - still
        if not batch.item_ids and now < due:  # late runs may still bring items; erased ones come no more
            return "it has no items yet"
        if still and (now < due or done < wanted * len(states)):
            when = f"due {due:%Y-%m-%d %H:%M} UTC" if now < due else f"past its deadline, and {wanted:.0%} must be done"
            return f"{done} of {len(states)} items are done; {when}"
        lot = close_lot(store, batch.name, quality=pack.settings.quality, deadline=still > 0)
    if lot.waiting:
        return f"the lot is closed; {len(lot.waiting)} of {len(lot.drawn)} drawn items wait for their audit"
    lot = settle_lot(store, batch.name)
    if lot.status == "sent_back":
        return "the lot failed its audit: other reviewers look at it again"
    reason = _lot_reason(store, batch.name)
    store.close_batch(batch.name, reason=reason)
    return reason


def own_states(store: EventStore, batch: Batch) -> dict[str, ItemState]:
    """States of the batch's own items: nothing planted, nothing erased."""
    own = set(batch.item_ids)
    return {key: state for key, state in store.states(batch.name).items() if key in own and not state.planted}


def rolled_over(store: EventStore, workflow: str, *, before_week: str) -> set[str]:
    """Items of closed batches of earlier weeks that were still open, and are in no later batch: the next batch prefers them.

    Conflicts are not among them: they come again by themselves (`conflicts.py`).
    """
    open_items: set[str] = set()
    for batch in current_batches(store, workflow):
        if batch.week >= before_week:
            break
        open_items -= set(batch.item_ids)
        if batch.closed:
            states = own_states(store, batch)
            open_items |= {key for key, state in states.items() if state.status in OPEN and not state.answers}
    return open_items


def audits_waiting(store: EventStore, batch: str) -> list[str]:
    """Items drawn from the closed lot that nobody audited yet."""
    return lot_of(store, batch).waiting


def current_batches(store: EventStore, workflow: str) -> list[Batch]:
    """One batch a week, oldest week first: the one people work on, else the newest opened."""
    weeks: dict[str, list[Batch]] = {}
    for batch in store.batches():
        if batch.workflow == workflow:
            weeks.setdefault(batch.week, []).append(batch)
    return [batch for week in sorted(weeks) if (batch := in_force(weeks[week]))]


def _lot_reason(store: EventStore, batch: str) -> str:
    closed = [found.event for found in store.history(batch) if found.event.kind == "close_lot"]
    return str(closed[0].payload["reason"])
