"""What the store asks before it takes an event, beyond the item's own state: is the batch open, the lot, and is this the person?

The database refuses the same by constraints (tables.py); here the answer is a sentence that a person can act on.
"""

from typing import NamedTuple

from flywheel.corrections.batches import is_closed, opening, replaced
from flywheel.corrections.database import Connection
from flywheel.corrections.log import events_of, insert, last_sequence
from flywheel.corrections.states import OPEN, Event, apply, check, fold
from flywheel.errors import FlywheelError

_AFTER_CLOSING = ("release", "withdraw")
_BEGINS = ("claim", "start_review", "start_adjudication", "report_privacy")  # one of these is a batch's first
_IN_A_CLOSED_LOT = ("audit", "report_privacy", *_AFTER_CLOSING)


class Twin(NamedTuple):
    """The other item of the batch that shows the same run to another annotator."""

    item_id: str
    batch: str


def admit(connection: Connection, batch: str, event: Event, after: int | None) -> None:
    """Raise FlywheelError when the batch, its lot or a faster colleague stand against the event."""
    if is_closed(connection, batch) and event.kind not in _AFTER_CLOSING:
        raise FlywheelError("the batch is closed", where=f"batch {batch}", remedy="this work belongs to the next batch")
    asked = "SELECT 1 FROM members WHERE batch = ? AND item_id = ?"
    if connection.execute(asked, (batch, event.item_id)).fetchone() is None:
        raise FlywheelError(f"the batch has no item {event.item_id}", where=f"batch {batch}",
                            remedy="take an item of the batch; a late one enters the next batch")  # fmt: skip
    # Working on it would freeze a version whose rows the lake does not hold any more.
    if event.kind in _BEGINS and replaced(connection, batch):
        raise FlywheelError("another version of the week's batch is handed out now", where=f"batch {batch}",
                            remedy="go back to the queue: it shows the new one")  # fmt: skip
    if lot_is_closed(connection, batch) and event.kind not in _IN_A_CLOSED_LOT:
        raise FlywheelError("the batch's lot is closed and is being audited", where=f"batch {batch}",
                            remedy="open items roll over to the next batch")  # fmt: skip
    if event.kind == "audit" and not _drawn(connection, batch, event.item_id):
        raise FlywheelError("the audit looks only at items drawn from the closed lot", where=f"item {event.item_id}",
                            remedy="close the lot, then audit what was drawn")  # fmt: skip
    if after is not None and last_sequence(connection, event.item_id, batch) != after:
        raise FlywheelError("the item has moved on since this page was opened", where=f"item {event.item_id}",
                            remedy="open it again: what happened since is shown there")  # fmt: skip


def lot_is_closed(connection: Connection, batch: str) -> bool:
    """Whether the batch's accepted items are a closed lot that waits for, or has, its audit."""
    asked = (
        "SELECT kind FROM events WHERE batch = ? AND item_id = '' AND kind IN ('close_lot', 'reopen_lot')"
        " ORDER BY sequence DESC LIMIT 1"
    )
    last = connection.execute(asked, (batch,)).fetchone()
    return last is not None and last[0] == "close_lot"


def take_role(connection: Connection, batch: str, event: Event, role: str) -> None:
    """Record the actor's role on the item, and bar them from its twin; raises FlywheelError for a second role.

    Whoever has seen one item cannot annotate its twin; whoever annotated one gets no role on the other at all.
    """
    asked = "SELECT role FROM roles WHERE item_id = ? AND actor = ?"
    known = connection.execute(asked, (event.item_id, event.actor)).fetchone()
    if known is not None and known[0] != role:
        raise FlywheelError(f"{event.actor} was the item's {known[0]} before and cannot be its {role}",
                            where=f"item {event.item_id}", remedy="another person has to do this")  # fmt: skip
    if known is not None:
        return
    asked = "SELECT 1 FROM bars WHERE item_id = ? AND actor = ? AND role = ?"
    if connection.execute(asked, (event.item_id, event.actor, role)).fetchone():
        raise FlywheelError(
            f"the item is not for {event.actor}", where=f"item {event.item_id}", remedy="take another one"
        )
    connection.execute("INSERT INTO roles VALUES (?, ?, ?)", (event.item_id, event.actor, role))
    for twin in twins(connection, batch, event.item_id):
        bar(connection, twin.item_id, event.actor, "annotator")
        # Who annotated one would judge the other by their own answer. Two people cannot afford that.
        if role == "annotator" and opening(connection, batch)["qa_mode"] != "two":
            for other in ("reviewer", "adjudicator", "auditor"):
                bar(connection, twin.item_id, event.actor, other)


def bar(connection: Connection, item_id: str, actor: str, role: str) -> None:
    """Keep a person from a role on an item, for ever."""
    connection.execute("INSERT INTO bars VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (item_id, actor, role))


def twins(connection: Connection, batch: str, item_id: str) -> list[Twin]:
    """The overlap twin of an item, or the item of a twin, in the same batch."""
    asked = "SELECT item_id FROM members WHERE source = ? AND batch = ? AND kind = 'overlap'"
    found = connection.execute(asked, (item_id, batch)).fetchall()
    asked = "SELECT source FROM members WHERE batch = ? AND item_id = ? AND kind = 'overlap'"
    return [Twin(row[0], batch) for row in (*found, *connection.execute(asked, (batch, item_id)).fetchall())]


def report_twins(connection: Connection, batch: str, event: Event) -> None:
    """Personal data in a run is in its twin too: take that out of the queue as well."""
    for twin in twins(connection, batch, event.item_id):
        state = fold(events_of(connection, twin.item_id, batch))
        if state.status in (*OPEN, "accepted"):
            same = Event(twin.item_id, "report_privacy", event.actor, event.payload, event.at)
            check(state, same)
            apply(state, same)
            insert(connection, batch, same)


def _drawn(connection: Connection, batch: str, item_id: str) -> bool:
    asked = "SELECT 1 FROM drawn WHERE batch = ? AND item_id = ?"
    return connection.execute(asked, (batch, item_id)).fetchone() is not None
