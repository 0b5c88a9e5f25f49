"""Batches in the store: opening, freezing, closing and finding them, in a transaction somebody else opened."""

import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flywheel.corrections.database import Connection
from flywheel.corrections.log import BATCH, events_of, insert, salt_hash
from flywheel.corrections.states import Event, Kind
from flywheel.errors import FlywheelError

PROBES = 0  # the salt of the planted items; those of the lot's attempts are 1 and 2, and are shown when it closes


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
    opened_at: str = ""
    closed_because: str = ""

    @property
    def name(self) -> str:
        """The batch's id in the store."""
        return batch_id(self.week, self.workflow, self.version)


def batch_id(week: str, workflow: str, version: str) -> str:
    """Name of a batch in the store."""
    return f"{week}|{workflow}|{version}"


def now() -> str:
    """This moment, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


def record(
    connection: Connection, batch: str, kind: Kind, payload: dict[str, Any], *, by: str = "system", at: str = ""
) -> None:
    """Add an event of the batch as a whole."""
    insert(connection, batch, Event(BATCH, kind, by, payload, at or now()))


def open_one(connection: Connection, payload: dict[str, Any], at: str) -> str:
    """Record the opening: the items as members, and the hash of a salt that nobody is shown before the lot closes."""
    name = batch_id(payload["week"], payload["workflow"], payload["version"])
    salt = commit_to_salt(connection, name, 1)
    commit_to_salt(connection, name, PROBES)
    record(connection, name, "open", {**payload, "lot_salt_sha256": salt}, at=at)
    for place, item_id in enumerate(payload["item_ids"]):
        add_member(connection, name, item_id, float(place), "item", None)
    return name


def open_again(connection: Connection, name: str) -> str:
    """Record that an earlier version is handed out once more: its items, salts and what was planted in it are there already."""
    record(connection, name, "open", opening(connection, name))
    return name


def commit_to_salt(connection: Connection, batch: str, attempt: int) -> str:
    """Draw the salt of a lot's sample before anybody can know the lot; returns its hash, which is recorded openly."""
    salt = secrets.token_hex(16)
    connection.execute("INSERT INTO salts VALUES (?, ?, ?)", (batch, attempt, salt))
    return salt_hash(salt)


def add_member(connection: Connection, batch: str, item_id: str, place: float, kind: str, source: str | None) -> None:
    """Make an item part of a batch; `kind` is item, or what it was planted as."""
    connection.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?)", (batch, item_id, place, kind, source))


def is_closed(connection: Connection, batch: str) -> bool:
    """Whether the batch has a close event."""
    asked = "SELECT 1 FROM events WHERE batch = ? AND item_id = '' AND kind = 'close' LIMIT 1"
    return connection.execute(asked, (batch,)).fetchone() is not None


def opening(connection: Connection, batch: str) -> dict[str, Any]:
    """Payload of the open event; raises FlywheelError when there is none."""
    opened = next((event for event in events_of(connection, BATCH, batch) if event.kind == "open"), None)
    if opened is None:
        raise FlywheelError(
            "that batch was never opened", where=f"batch {batch}", remedy="run collect for its week first"
        )
    return opened.payload


def close_one(connection: Connection, batch: str, attempt: int, reason: str, by: str, at: str) -> None:
    """Record the closing once for each attempt."""
    closed = [event for event in events_of(connection, BATCH, batch) if event.kind == "close"]
    if all(event.payload["attempt"] != attempt for event in closed):
        record(connection, batch, "close", {"attempt": attempt, "reason": reason, "by": by}, by=by, at=at)


def note_export(connection: Connection, batch: str, manifest_sha256: str) -> None:
    """Record once that the batch left the house under this manifest; raises FlywheelError for an unknown batch and a replaced one."""
    opening(connection, batch)
    if replaced(connection, batch):
        raise FlywheelError("another version of the week's batch is handed out now", where=f"batch {batch}",
                            remedy="delete what was written and export again")  # fmt: skip
    if manifest_sha256 not in exported(events_of(connection, BATCH, batch)):
        record(connection, batch, "export", {"manifest_sha256": manifest_sha256})


def exported(events: Iterable[Event]) -> set[str]:
    """Hashes of the manifests under which a batch was ever handed out."""
    return {str(event.payload.get("manifest_sha256")) for event in events if event.kind == "export"}


def in_force(versions: Sequence[Batch]) -> Batch | None:
    """Of one week's batches, in order of opening, the one people work (or worked) on: the frozen one, else the newest opened."""
    return next((batch for batch in versions if batch.frozen), versions[-1] if versions else None)


def replaced(connection: Connection, name: str) -> bool:
    """Whether another version of the week's batch is in force. Cheap once somebody has worked on this one."""
    if _touched(connection, name):
        return False
    week, workflow, _ = name.split("|", 2)
    found = in_force(of_week(connection, week, workflow))
    return found is not None and found.name != name


def of_week(connection: Connection, week: str, workflow: str) -> list[Batch]:
    """All versions of a week's batch, in order of opening."""
    start = batch_id(week, workflow, "")
    return find(connection, f"workflow = ? AND substr(batch, 1, {len(start)}) = ?", (workflow, start))


def find(connection: Connection, condition: str, values: Sequence[Any]) -> list[Batch]:
    """Batches whose open event meets a condition, in order of last opening; reads the events of whole batches, no item's."""
    asked = (
        f"SELECT batch, payload, at FROM events WHERE item_id = '' AND kind = 'open' AND {condition} ORDER BY sequence"
    )
    opened: dict[str, tuple[str, str]] = {}
    for name, payload, at in connection.execute(asked, values).fetchall():
        opened.pop(name, None)
        opened[name] = (payload, at)
    return [_batch(connection, name, *last) for name, last in opened.items()]


def _batch(connection: Connection, name: str, payload: str, at: str) -> Batch:
    opened = json.loads(payload)
    own = events_of(connection, BATCH, name)
    closed = [event.payload for event in own if event.kind == "close"]
    attempt = max((one["attempt"] for one in closed), default=0)
    return Batch(
        opened["week"], opened["workflow"], opened["version"], attempt, opened["qa_mode"], opened["item_ids"],
        _touched(connection, name) or bool(closed or exported(own)), bool(closed), at, closed[-1].get("reason", "") if closed else "",
    )  # fmt: skip


def _touched(connection: Connection, name: str) -> bool:
    """Whether a person did something in it: planted items stand in the log from the beginning and freeze nothing."""
    asked = "SELECT 1 FROM events WHERE batch = ? AND item_id > '' AND kind <> 'plant' LIMIT 1"
    return connection.execute(asked, (name,)).fetchone() is not None
