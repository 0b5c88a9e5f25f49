"""The event store: append-only SQLite in WAL mode, hash-chained, with the separation of duties as a constraint.

State is never stored, it is folded from the events. The database itself refuses updates, deletes, and a second role of
one person on one item, whatever the code above it does.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.corrections.states import Event, ItemState, apply, check, fold, role_of
from flywheel.errors import FlywheelError
from flywheel.privacy.erasure import compact
from flywheel.toolcalls.arguments import canonical_json, sha256_of

LEASE = timedelta(minutes=60)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY, batch TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL,
    payload TEXT NOT NULL, payload_sha256 TEXT NOT NULL, at TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL UNIQUE);
CREATE INDEX IF NOT EXISTS events_by_item ON events (item_id, sequence);
CREATE TABLE IF NOT EXISTS roles (
    item_id TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (item_id, actor));
CREATE TRIGGER IF NOT EXISTS events_are_final BEFORE UPDATE ON events
    WHEN NEW.payload != '{"erased": true}' OR NEW.hash != OLD.hash OR NEW.payload_sha256 != OLD.payload_sha256 OR NEW.actor != OLD.actor
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_stay BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER IF NOT EXISTS roles_are_final BEFORE UPDATE ON roles BEGIN SELECT RAISE(ABORT, 'roles are final'); END;
"""
_ERASED = '{"erased": true}'
_BATCH = ""  # item_id of events that concern a whole batch


class Batch(NamedTuple):
    """One batch handed to people: its partition, version, attempt, items, and whether it is frozen or closed."""

    week: str
    workflow: str
    version: str
    attempt: int
    qa_mode: str
    item_ids: list[str]
    frozen: bool
    closed: bool


class Recorded(NamedTuple):
    """One event as it stands in the log."""

    sequence: int
    batch: str
    event: Event


class EventStore:
    """All correction events of one workflow.

    Args:
        path: SQLite file; made with its folder when absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")  # what was confirmed survives a power cut
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            connection.close()

    def append(self, batch: str, event: Event, *, at: datetime | None = None, after: int | None = None) -> ItemState:
        """Check an event against the item's state and add it, in one transaction; returns the new state.

        Args:
            after: sequence of the item's last event that the actor saw, 0 for none; None does not ask. Two tabs, a replayed request and a
                colleague who was faster are told apart from a first one by it.

        Raises FlywheelError naming the rule, and then nothing was written.
        """
        moment = (at or datetime.now(UTC)).isoformat()
        with self._transaction() as connection:
            if self._closed(connection, batch) and event.kind != "release":
                raise FlywheelError(
                    "the batch is closed", where=f"batch {batch}", remedy="this work belongs to the next batch"
                )
            if after is not None and _last(connection, event.item_id, batch) != after:
                raise FlywheelError("the item has moved on since this page was opened", where=f"item {event.item_id}",
                                    remedy="open it again: what happened since is shown there")  # fmt: skip
            state = fold(_events(connection, event.item_id, batch))
            stamped = Event(event.item_id, event.kind, event.actor, event.payload, moment)
            check(state, stamped)
            role = role_of(state, stamped)
            if role != "system":
                self._take_role(connection, stamped, role)
            _insert(connection, batch, stamped)
        return apply(state, stamped)

    def _take_role(self, connection: sqlite3.Connection, event: Event, role: str) -> None:
        known = connection.execute(
            "SELECT role FROM roles WHERE item_id = ? AND actor = ?", (event.item_id, event.actor)
        ).fetchone()
        if known is None:
            connection.execute("INSERT INTO roles VALUES (?, ?, ?)", (event.item_id, event.actor, role))
        elif known[0] != role:
            raise FlywheelError(f"{event.actor} was the item's {known[0]} before and cannot be its {role}",
                                where=f"item {event.item_id}", remedy="another person has to do this")  # fmt: skip

    def since(self, sequence: int) -> list[Recorded]:
        """All events after a sequence number, in order: what a reader that follows the log asks for."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT sequence, batch, item_id, kind, actor, payload, at FROM events WHERE sequence > ? ORDER BY sequence",
                (sequence,),
            ).fetchall()
        return [Recorded(row[0], row[1], Event(row[2], row[3], row[4], json.loads(row[5]), row[6])) for row in rows]

    def state(self, item_id: str, batch: str) -> ItemState:
        """The item's state in a batch, folded from its events."""
        with self._transaction() as connection:
            return fold(_events(connection, item_id, batch))

    def states(self, batch: str) -> dict[str, ItemState]:
        """State of every item of a batch."""
        opened = self._opened(batch)
        with self._transaction() as connection:
            events = {item_id: _events(connection, item_id, batch) for item_id in opened["item_ids"]}
        return {
            key: fold(found) for key, found in events.items() if not any("erased" in event.payload for event in found)
        }

    def expire_leases(self, batch: str, *, now: datetime | None = None) -> list[str]:
        """Give back every claimed item without an event for the length of a lease; returns their ids."""
        moment = now or datetime.now(UTC)
        expired = []
        for item_id, state in self.states(batch).items():
            with self._transaction() as connection:
                events = _events(connection, item_id, batch)
            if state.status == "claimed" and events and moment - datetime.fromisoformat(events[-1].at) > LEASE:
                self.append(batch, Event(item_id, "give_back", str(state.annotator)), at=moment)
                expired.append(item_id)
        return expired

    def open_batch(self, *, week: str, workflow: str, version: str, item_ids: list[str], qa_mode: str) -> str:
        """Open a batch and return its id; the same version again changes nothing.

        Once people work on a week's batch (first claim) it is frozen: asking for another version then gives the frozen
        one's id, and what is new waits for the next batch (design.md 8.2).
        """
        known = [batch for batch in self.batches() if (batch.week, batch.workflow) == (week, workflow)]
        for batch in known:
            if batch.version == version or batch.frozen:
                return batch_id(batch.week, batch.workflow, batch.version)
        name = batch_id(week, workflow, version)
        payload = {"week": week, "workflow": workflow, "version": version, "item_ids": item_ids, "qa_mode": qa_mode}
        with self._transaction() as connection:
            _insert(connection, name, Event(_BATCH, "open", "system", payload, _now()))  # pyright: ignore[reportArgumentType]
        return name

    def close_batch(self, batch: str, *, attempt: int = 1) -> None:
        """Close a batch: nothing more is added to it, and `learn` may read it. Closing again with the same attempt is nothing."""
        with self._transaction() as connection:
            done = connection.execute(
                "SELECT payload FROM events WHERE batch = ? AND kind = 'close'", (batch,)
            ).fetchall()
            if all(json.loads(row[0])["attempt"] != attempt for row in done):
                _insert(connection, batch, Event(_BATCH, "close", "system", {"attempt": attempt}, _now()))  # pyright: ignore[reportArgumentType]

    def export_batch(self, batch: str, manifest_sha256: str) -> None:
        """Note that a batch was handed to a partner, which freezes it. The same manifest again is nothing."""
        self._opened(batch)
        note = Event(_BATCH, "export", "system", {"manifest_sha256": manifest_sha256}, _now())  # pyright: ignore[reportArgumentType]
        with self._transaction() as connection:
            done = connection.execute(
                "SELECT payload FROM events WHERE batch = ? AND kind = 'export'", (batch,)
            ).fetchall()
            if all(json.loads(row[0])["manifest_sha256"] != manifest_sha256 for row in done):
                _insert(connection, batch, note)

    def batches(self) -> list[Batch]:
        """All batches ever opened, in order."""
        with self._transaction() as connection:
            opened = connection.execute(
                "SELECT batch, payload FROM events WHERE kind = 'open' ORDER BY sequence"
            ).fetchall()
            found = []
            for name, payload in opened:
                value = json.loads(payload)
                closed = connection.execute(
                    "SELECT payload FROM events WHERE batch = ? AND kind = 'close'", (name,)
                ).fetchall()
                frozen = connection.execute(
                    "SELECT 1 FROM events WHERE batch = ? AND (item_id != '' OR kind = 'export') LIMIT 1", (name,)
                ).fetchone()
                attempt = max((json.loads(row[0])["attempt"] for row in closed), default=0)
                found.append(Batch(value["week"], value["workflow"], value["version"], attempt, value["qa_mode"],
                                   value["item_ids"], frozen is not None or bool(closed), bool(closed)))  # fmt: skip
        return found

    def batch_of(self, week: str, workflow: str) -> Batch | None:
        """The batch people work (or worked) on for a week: the frozen one, else the newest opened."""
        mine = [batch for batch in self.batches() if (batch.week, batch.workflow) == (week, workflow)]
        return next((batch for batch in mine if batch.frozen), mine[-1] if mine else None)

    def erase_items(self, item_ids: list[str]) -> int:
        """Blank the payloads of items whose person was erased; the chain still verifies. Returns the number of events."""
        blanked = 0
        with self._transaction() as connection:
            connection.execute("PRAGMA secure_delete=ON")
            for item_id in item_ids:
                changed = connection.execute(
                    "UPDATE events SET payload = ? WHERE item_id = ? AND payload != ?", (_ERASED, item_id, _ERASED)
                )
                blanked += changed.rowcount
        if blanked:
            compact(self._path)
        return blanked

    def verify_chain(self) -> int:
        """Recompute the hash chain; returns the number of events, raises FlywheelError at the first that was changed."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT sequence, batch, item_id, kind, actor, payload, payload_sha256, at, previous_hash, hash FROM events ORDER BY sequence"
            ).fetchall()
        previous = ""
        for sequence, batch, item_id, kind, actor, payload, digest, at, previous_hash, found in rows:
            intact = payload == _ERASED or sha256_of(payload) == digest
            if (
                not intact
                or previous_hash != previous
                or _hash(previous, batch, item_id, kind, actor, digest, at) != found
            ):
                raise FlywheelError(f"event {sequence} was changed after it was written", where=str(self._path),
                                    remedy="restore the store from a backup; do not train on this batch")  # fmt: skip
            previous = found
        return len(rows)

    def _opened(self, batch: str) -> dict[str, Any]:
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT payload FROM events WHERE batch = ? AND kind = 'open'", (batch,)
            ).fetchone()
        if row is None:
            raise FlywheelError(
                "that batch was never opened", where=f"batch {batch}", remedy="run collect for its week first"
            )
        return json.loads(row[0])

    @staticmethod
    def _closed(connection: sqlite3.Connection, batch: str) -> bool:
        return (
            connection.execute("SELECT 1 FROM events WHERE batch = ? AND kind = 'close'", (batch,)).fetchone()
            is not None
        )


def batch_id(week: str, workflow: str, version: str) -> str:
    """Name of a batch in the store."""
    return f"{week}|{workflow}|{version}"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _events(connection: sqlite3.Connection, item_id: str, batch: str) -> list[Event]:
    rows = connection.execute(
        "SELECT item_id, kind, actor, payload, at FROM events WHERE item_id = ? AND batch = ? ORDER BY sequence",
        (item_id, batch),
    )
    return [Event(row[0], row[1], row[2], json.loads(row[3]), row[4]) for row in rows]


def _last(connection: sqlite3.Connection, item_id: str, batch: str) -> int:
    row = connection.execute(
        "SELECT MAX(sequence) FROM events WHERE item_id = ? AND batch = ?", (item_id, batch)
    ).fetchone()
    return row[0] or 0


def _insert(connection: sqlite3.Connection, batch: str, event: Event) -> None:
    last = connection.execute("SELECT hash FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    previous, payload = last[0] if last else "", canonical_json(event.payload)
    # The chain holds the payload's hash, not the payload: an erased payload leaves the chain whole.
    digest = sha256_of(payload)
    sealed = (batch, event.item_id, event.kind, event.actor, digest, event.at)
    connection.execute(
        "INSERT INTO events (batch, item_id, kind, actor, payload, payload_sha256, at, previous_hash, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (batch, event.item_id, event.kind, event.actor, payload, digest, event.at, previous, _hash(previous, *sealed)),
    )


def _hash(previous: str, *values: str) -> str:
    return sha256_of([previous, *values])
