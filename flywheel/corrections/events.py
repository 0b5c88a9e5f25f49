"""The event store: append-only, hash-chained, with the separation of duties as a constraint, in SQLite or PostgreSQL.

State is never stored, it is folded from the events. The database itself refuses updates, deletes, and a second role of
one person on one item, whatever the code above it does. Beside the log lie drafts: unfinished input, changed at will.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flywheel.corrections import batches, guard, log
from flywheel.corrections.batches import Batch, batch_id
from flywheel.corrections.database import Connection, open_database
from flywheel.corrections.log import Recorded
from flywheel.corrections.states import HELD, Event, ItemState, apply, check, fold, role_of
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json

__all__ = ["LEASE", "Batch", "Event", "EventStore", "ItemState", "Recorded", "batch_id"]
LEASE = timedelta(minutes=60)
LEASE_EXPIRED = "lease expired"
_ENDS_A_DRAFT = (
    "submit",
    "edit",
    "give_back",
    "accept",
    "return",
    "dispute",
    "uphold",
    "drop",
    "audit",
    "report_privacy",
)


class EventStore:
    """All correction events of one workflow, or of all workflows that share a database.

    Args:
        location: SQLite file (made with its folder when absent), `postgresql+psycopg2://` URL, or `:memory:`.
        workflow: the only one whose batches are listed; None lists all.
        durable: False skips fsync: for tests and simulations that may lose their last second.
    """

    def __init__(self, location: Path | str, *, workflow: str | None = None, durable: bool = True) -> None:
        self.database = open_database(location, durable=durable)
        self.workflow = workflow

    def append(self, batch: str, event: Event, *, at: datetime | None = None, after: int | None = None) -> ItemState:
        """Check an event against the item's state and add it, in one transaction; returns the new state.

        Args:
            after: sequence of the item's last event that the actor saw, 0 for none; None does not ask. Two tabs, a replayed request and a
                colleague who was faster are told apart from a first one by it.

        Raises FlywheelError naming the rule, and then nothing was written. Costs what the item's own events cost.
        """
        stamped = Event(event.item_id, event.kind, event.actor, event.payload, (at or datetime.now(UTC)).isoformat())
        if event.kind == "plant":
            raise FlywheelError(
                "nobody plants items by hand", where=f"item {event.item_id}", remedy="use EventStore.plant"
            )
        with self.database.write() as connection:
            guard.admit(connection, batch, stamped, after)
            events = log.events_of(connection, event.item_id, batch)
            if any("erased" in one.payload for one in events):
                raise FlywheelError(
                    "the item's person was erased", where=f"item {event.item_id}", remedy="take another one"
                )
            state = fold(events)
            check(state, stamped)
            role = role_of(state, stamped)
            if role != "system":
                guard.take_role(connection, batch, stamped, role)
            log.insert(connection, batch, stamped, None if role == "system" else role)
            if event.kind == "report_privacy":
                guard.report_twins(connection, batch, stamped)
                connection.execute("DELETE FROM drafts WHERE item_id = ?", (event.item_id,))
            # A lease that ran out took nothing from its holder: they may come back to what they typed.
            if event.kind in _ENDS_A_DRAFT and event.payload.get("because") != LEASE_EXPIRED:
                _clear(connection, batch, event.item_id, event.actor)
        return apply(state, stamped)

    def plant(
        self, batch: str, item_id: str, place: float, payload: dict[str, Any], *, role: str = "annotator"
    ) -> bool:
        """Plant an item (probes.py) beside the batch's own; False when it stands there already.

        Args:
            place: among the batch's items, whose places are 0, 1, 2 and so on.
            payload: kind, source, item, expected, barred, and proposal for one that goes straight to review.
            role: what the barred people may not be on it.
        """
        event = Event(item_id, "plant", "system", payload, batches.now())
        with self.database.write() as connection:
            if log.last_sequence(connection, item_id, batch):
                return False
            batches.add_member(connection, batch, item_id, place, payload["kind"], payload["source"])
            _plant(connection, batch, event, role)
        return True

    def planted(self, batch: str) -> list[tuple[float, str, dict[str, Any]]]:
        """(place, item id, payload) of the batch's planted items, erased ones left out."""
        asked = "SELECT item_id, place FROM members WHERE batch = ? AND kind <> 'item'"
        with self.database.read() as connection:
            places = dict(tuple(row) for row in connection.execute(asked, (batch,)).fetchall())
            events = [log.events_of(connection, item_id, batch)[0] for item_id in places]
        return sorted((places[e.item_id], e.item_id, e.payload) for e in events if "erased" not in e.payload)

    def salt(self, batch: str) -> str:
        """The secret that a batch's planted items depend on; shown to nobody."""
        with self.database.read() as connection:
            row = connection.execute(
                "SELECT salt FROM salts WHERE batch = ? AND attempt = ?", (batch, batches.PROBES)
            ).fetchone()
        return row[0] if row else ""

    def since(self, sequence: int) -> list[Recorded]:
        """All events after a sequence number, in order: what a reader that follows the log asks for."""
        mine, values = ("sequence > ?", [sequence])
        if self.workflow is not None:
            mine, values = "sequence > ? AND workflow = ?", [sequence, self.workflow]
        with self.database.read() as connection:
            return log.recorded(connection, mine, values)

    def history(self, batch: str) -> list[Recorded]:
        """All events of a batch and its items, in order; erased ones keep who, what and when."""
        with self.database.read() as connection:
            return log.recorded(connection, "batch = ?", (batch,))

    def state(self, item_id: str, batch: str) -> ItemState:
        """The item's state in a batch, folded from its events."""
        with self.database.read() as connection:
            return fold(log.events_of(connection, item_id, batch))

    def states(self, batch: str) -> dict[str, ItemState]:
        """State of every item of a batch, planted ones between the others, in the order of their places; one query."""
        with self.database.read() as connection:
            return {key: fold(found) for key, found in events_in(connection, batch).items() if not _erased(found)}

    def expire_leases(self, batch: str, *, now: datetime | None = None) -> list[str]:
        """Give back every held item without an event or draft for the length of a lease; returns their ids."""
        moment = now or datetime.now(UTC)
        with self.database.read() as connection:
            events = events_in(connection, batch)
            asked = "SELECT item_id, actor, at FROM drafts WHERE batch = ?"
            drafts = {(row[0], row[1]): row[2] for row in connection.execute(asked, (batch,)).fetchall()}
        expired = []
        for item_id, found in events.items():
            state = ItemState() if _erased(found) else fold(found)
            holder = getattr(state, HELD[state.status]) if state.status in HELD else None
            if holder is None:
                continue
            last = max(found[-1].at, drafts.get((item_id, holder), ""), key=_moment)
            if moment - _moment(last) > LEASE:
                try:
                    self.append(batch, Event(item_id, "give_back", holder, {"because": LEASE_EXPIRED}), at=moment)
                except FlywheelError:  # its holder was faster, or the lot closed over it
                    continue
                expired.append(item_id)
        return expired

    def not_for(self, batch: str, actor: str) -> dict[str, set[str]]:
        """Items of the batch that a person may not take, by role: held in another role before, or barred. For queues."""
        asked = "SELECT b.item_id, b.role FROM bars b JOIN members m ON m.item_id = b.item_id WHERE m.batch = ? AND b.actor = ?"
        held = "SELECT r.item_id, r.role FROM roles r JOIN members m ON m.item_id = r.item_id WHERE m.batch = ? AND r.actor = ?"
        roles = ("annotator", "reviewer", "adjudicator", "auditor")
        found: dict[str, set[str]] = {role: set() for role in roles}
        with self.database.read() as connection:
            for item_id, role in connection.execute(asked, (batch, actor)).fetchall():
                found[role].add(item_id)
            for item_id, role in connection.execute(held, (batch, actor)).fetchall():
                for other in roles:
                    if other != role:
                        found[other].add(item_id)
        return found

    def save_draft(
        self, batch: str, item_id: str, actor: str, payload: dict[str, Any], *, at: datetime | None = None
    ) -> None:
        """Keep unfinished input, replacing what was kept; its time extends the lease."""
        moment = (at or datetime.now(UTC)).isoformat()
        with self.database.write() as connection:
            _clear(connection, batch, item_id, actor)
            values = (batch, item_id, actor, canonical_json(payload), moment)
            connection.execute("INSERT INTO drafts VALUES (?, ?, ?, ?, ?)", values)

    def draft(self, batch: str, item_id: str, actor: str) -> dict[str, Any] | None:
        """What was kept last, or None."""
        asked = "SELECT payload FROM drafts WHERE batch = ? AND item_id = ? AND actor = ?"
        with self.database.read() as connection:
            row = connection.execute(asked, (batch, item_id, actor)).fetchone()
        return json.loads(row[0]) if row else None

    def clear_draft(self, batch: str, item_id: str, actor: str) -> None:
        """Forget it; submitting, deciding and giving back do so by themselves."""
        with self.database.write() as connection:
            _clear(connection, batch, item_id, actor)

    def open_batch(
        self, *, week: str, workflow: str, version: str, item_ids: list[str], qa_mode: str, conflicts: Mapping[str, Any] = {},  # noqa: B006
    ) -> str:  # fmt: skip
        """Open a batch and return the id of the one in force; the same version again changes nothing, an earlier one comes back.

        Once people work on a week's batch (first claim) it is frozen: asking for another version then gives the frozen
        one's id, and what is new waits for the next batch (design.md 8.2). Whoever writes the items compares the two.

        Args:
            conflicts: those of the items that start before an adjudicator, with what is planted of them (conflicts.py).
        """
        payload = {"week": week, "workflow": workflow, "version": version, "item_ids": item_ids, "qa_mode": qa_mode}
        with self.database.write() as connection:
            known = batches.of_week(connection, week, workflow)
            current = batches.in_force(known)
            if current and (current.frozen or current.version == version):
                return current.name
            if any(batch.version == version for batch in known):
                return batches.open_again(connection, batch_id(week, workflow, version))
            name = batches.open_one(connection, payload, batches.now())
            for item_id, conflict in conflicts.items():
                event = Event(item_id, "plant", "system", conflict, batches.now())
                _plant(connection, name, event, "reviewer", "adjudicator", "auditor")
            return name

    def close_batch(self, batch: str, *, attempt: int = 1, reason: str = "complete", by: str = "system") -> None:
        """Close a batch: nothing more is added to it, and `learn` may read it. Closing again with the same attempt is nothing.

        Args:
            reason: complete, deadline, or a sentence; by: the person, or system.
        """
        with self.database.write() as connection:
            batches.close_one(connection, batch, attempt, reason, by, batches.now())

    def export_batch(self, batch: str, manifest_sha256: str) -> None:
        """Note that a batch was handed to a partner, which freezes it; the same manifest again is nothing. Raises for a replaced one."""
        with self.database.write() as connection:
            batches.note_export(connection, batch, manifest_sha256)

    def batches(self) -> list[Batch]:
        """All batches ever opened, in order of their last opening; reads no item's events."""
        mine: tuple[str, Sequence[Any]] = ("1 = 1", ()) if self.workflow is None else ("workflow = ?", (self.workflow,))
        with self.database.read() as connection:
            return batches.find(connection, *mine)

    def batch_of(self, week: str, workflow: str) -> Batch | None:
        """The batch people work (or worked) on for a week: the frozen one, else the newest opened."""
        with self.database.read() as connection:
            return batches.in_force(batches.of_week(connection, week, workflow))

    def erase_items(self, item_ids: list[str]) -> int:
        """Blank the payloads of an erased person's items and of what was planted from them (`log.blank`); returns how many. The chain holds."""
        with self.database.write() as connection:
            blanked = log.blank(connection, item_ids, batches.now())
        if item_ids:
            self.database.shred()
        return blanked

    def verify_chain(self) -> int:
        """Recompute the hash chain; returns the number of events, raises FlywheelError at the first that was changed."""
        with self.database.read() as connection:
            return log.verify(connection, self.database.where)


def events_in(connection: Connection, batch: str) -> dict[str, list[Event]]:
    """Events of every item of a batch, in the order of the items' places; raises FlywheelError for an unknown batch."""
    rows = connection.execute(
        "SELECT m.item_id, e.kind, e.actor, e.payload, e.at FROM members m LEFT JOIN events e ON e.batch = m.batch"
        " AND e.item_id = m.item_id WHERE m.batch = ? ORDER BY m.place, m.item_id, e.sequence", (batch,)
    ).fetchall()  # fmt: skip
    if not rows:
        batches.opening(connection, batch)
    found: dict[str, list[Event]] = {}
    for item_id, kind, actor, payload, at in rows:
        events = found.setdefault(item_id, [])
        if kind is not None:
            events.append(Event(item_id, kind, actor, json.loads(payload), at))
    return found


def _plant(connection: Connection, batch: str, event: Event, *roles: str) -> None:
    check(ItemState(), event)
    for actor in event.payload["barred"]:
        for role in roles:
            guard.bar(connection, event.item_id, actor, role)
    log.insert(connection, batch, event)


def _clear(connection: Connection, batch: str, item_id: str, actor: str) -> None:
    connection.execute("DELETE FROM drafts WHERE batch = ? AND item_id = ? AND actor = ?", (batch, item_id, actor))


def _erased(events: list[Event]) -> bool:
    return any("erased" in event.payload for event in events)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)
