"""The log inside the store: one hash-chained row for each event, written and read in a transaction somebody else opened."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flywheel.corrections.database import Connection
from flywheel.corrections.states import Event
from flywheel.corrections.tables import ERASED
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of

BATCH = ""  # item_id of events that concern a whole batch
_BLANK: dict[str, Any] = json.loads(ERASED)
_FIELDS = "sequence, batch, item_id, kind, actor, payload, at"


class Recorded(NamedTuple):
    """One event as it stands in the log."""

    sequence: int
    batch: str
    event: Event


def insert(connection: Connection, batch: str, event: Event, role: str | None = None) -> int:
    """Add an event at the end of the chain; returns its sequence. Sequences have no gaps: writers exclude each other."""
    last = connection.execute("SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    sequence, previous = (last[0] + 1 if last else 1), (last[1] if last else "")
    payload = ERASED if event.payload == _BLANK else canonical_json(event.payload)
    try:
        # The chain holds the payload's hash, not the payload: an erased payload leaves the chain whole.
        digest = sha256_of(payload)
    except UnicodeEncodeError as error:
        raise FlywheelError("the text holds half of a surrogate pair, which is no Unicode", where=f"item {event.item_id}",
                            remedy="remove that character and send it again") from error  # fmt: skip
    sealed = (batch, event.item_id, event.kind, event.actor, digest, event.at)
    connection.execute(
        "INSERT INTO events (sequence, workflow, batch, item_id, kind, actor, role, payload, payload_sha256, at, previous_hash, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sequence, workflow_of(batch), batch, event.item_id, event.kind, event.actor, role, payload, digest, event.at, previous,
         _hash(previous, *sealed)),
    )  # fmt: skip
    return sequence


def workflow_of(batch: str) -> str:
    """Workflow in a batch's id."""
    return batch.split("|")[1] if batch.count("|") >= 2 else ""


def events_of(connection: Connection, item_id: str, batch: str) -> list[Event]:
    """Events of one item (or of the batch as a whole, for `BATCH`) in order."""
    return [found.event for found in recorded(connection, "batch = ? AND item_id = ?", (batch, item_id))]


def recorded(connection: Connection, condition: str, values: Sequence[Any]) -> list[Recorded]:
    """Events that meet a condition, in order."""
    rows = connection.execute(f"SELECT {_FIELDS} FROM events WHERE {condition} ORDER BY sequence", values).fetchall()
    return [Recorded(row[0], row[1], Event(row[2], row[3], row[4], json.loads(row[5]), row[6])) for row in rows]


def last_sequence(connection: Connection, item_id: str, batch: str) -> int:
    """Sequence of the item's last event, 0 for none."""
    asked = "SELECT sequence FROM events WHERE batch = ? AND item_id = ? ORDER BY sequence DESC LIMIT 1"
    row = connection.execute(asked, (batch, item_id)).fetchone()
    return row[0] if row else 0


def blank(connection: Connection, item_ids: Iterable[str], at: str) -> int:
    """Blank payloads and drafts of items and of everything planted from them; returns the number of events blanked.

    An item that nobody touched has nothing to blank: it gets one blank event (`plant`, which is nobody's work and freezes no batch), so
    that whoever reads the batch knows that it is gone.

    Args:
        at: when, for these events; they are not counted.
    """
    blanked, gone = 0, set[str]()
    for item_id in item_ids:
        planted = connection.execute("SELECT item_id FROM members WHERE source = ?", (item_id,)).fetchall()
        for one in (item_id, *(row[0] for row in planted)):
            asked = "UPDATE events SET payload = ? WHERE item_id = ? AND payload <> ?"
            blanked += connection.execute(asked, (ERASED, one, ERASED)).rowcount
            connection.execute("DELETE FROM drafts WHERE item_id = ?", (one,))
            gone.add(one)
    untouched = (
        "SELECT m.batch, m.item_id FROM members m WHERE NOT EXISTS"
        " (SELECT 1 FROM events e WHERE e.batch = m.batch AND e.item_id = m.item_id) ORDER BY m.batch, m.place"
    )
    for batch, item_id in connection.execute(untouched).fetchall():
        if item_id in gone:
            insert(connection, batch, Event(item_id, "plant", "system", _BLANK, at))
    return blanked


def verify(connection: Connection, where: str) -> int:
    """Recompute the chain; returns the number of events, raises FlywheelError at the first that was changed or is missing."""
    rows = connection.execute(
        "SELECT sequence, batch, item_id, kind, actor, payload, payload_sha256, at, previous_hash, hash FROM events ORDER BY sequence"
    ).fetchall()
    previous = ""
    for place, (sequence, batch, item_id, kind, actor, payload, digest, at, previous_hash, found) in enumerate(rows, 1):
        intact = payload == ERASED or sha256_of(payload) == digest
        chained = previous_hash == previous and sequence == place
        if not intact or not chained or _hash(previous, batch, item_id, kind, actor, digest, at) != found:
            raise FlywheelError(f"event {sequence} was changed after it was written", where=where,
                                remedy="restore the store from a backup; do not train on this batch")  # fmt: skip
        previous = found
    return len(rows)


def _hash(previous: str, *values: str) -> str:
    return sha256_of([previous, *values])


def salt_hash(salt: str) -> str:
    """What an opening commits to, so that the salt shown at closing can be checked against it."""
    return hashlib.sha256(salt.encode()).hexdigest()
