"""The event store: append-only, chained, and separate duties even for code that goes around the state machine."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel.corrections.events import EventStore
from flywheel.corrections.states import Event
from flywheel.errors import FlywheelError
from flywheel_tests.corrections.test_states import FIX


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "qa" / "desk.sqlite")


def opened(store: EventStore, version: str = "v1") -> str:
    return store.open_batch(week="2026-01-05", workflow="desk", version=version, item_ids=["i", "j"], qa_mode="three")


def test_state_survives_reopening_the_file(store: EventStore, tmp_path: Path):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    store.append(batch, Event("i", "submit", "ann", FIX))
    again = EventStore(tmp_path / "qa" / "desk.sqlite")
    assert again.state("i", batch) == store.state("i", batch)
    assert again.state("i", batch).status == "submitted" and again.verify_chain() == 3


def test_a_refused_event_leaves_nothing_behind(store: EventStore):
    batch = opened(store)
    with pytest.raises(FlywheelError):
        store.append(batch, Event("i", "submit", "ann", FIX))
    assert store.verify_chain() == 1


def test_the_database_refuses_changes_deletions_and_a_second_role(store: EventStore, tmp_path: Path):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    with sqlite3.connect(tmp_path / "qa" / "desk.sqlite") as raw:
        for statement in (
            "UPDATE events SET actor = 'bob'",
            "DELETE FROM events",
            "INSERT INTO roles VALUES ('i', 'ann', 'reviewer')",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                raw.execute(statement)


def test_tampering_breaks_the_chain(store: EventStore, tmp_path: Path):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    with sqlite3.connect(tmp_path / "qa" / "desk.sqlite") as raw:
        raw.execute("DROP TRIGGER events_are_final")
        raw.execute("UPDATE events SET actor = 'bob' WHERE kind = 'claim'")
    with pytest.raises(FlywheelError, match="changed after it was written"):
        store.verify_chain()


def test_someone_who_gave_an_item_back_cannot_review_it_later(store: EventStore):
    batch = opened(store)
    for event in (Event("i", "claim", "ann"), Event("i", "give_back", "ann"), Event("i", "claim", "bob"), Event("i", "submit", "bob", FIX),
                  Event("i", "check", "system", {"problems": []})):  # fmt: skip
        store.append(batch, event)
    with pytest.raises(FlywheelError, match="was the item's annotator before"):
        store.append(batch, Event("i", "start_review", "ann"))


def test_leases_expire_after_an_hour_without_an_event(store: EventStore):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    assert store.expire_leases(batch, now=datetime.now(UTC) + timedelta(minutes=59)) == []
    assert store.expire_leases(batch, now=datetime.now(UTC) + timedelta(minutes=61)) == ["i"]
    assert store.state("i", batch).status == "queued"


def test_a_batch_people_work_on_is_frozen_and_a_closed_one_takes_no_more(store: EventStore):
    first = opened(store)
    assert opened(store) == first
    second = opened(store, "v2")
    assert second != first, "nobody had claimed anything yet"
    store.append(second, Event("i", "claim", "ann"))
    assert opened(store, "v3") == second
    batch = store.batch_of("2026-01-05", "desk")
    assert batch and batch.version == "v2" and batch.frozen and not batch.closed
    store.close_batch(second)
    store.close_batch(second)
    with pytest.raises(FlywheelError, match="next batch"):
        store.append(second, Event("j", "claim", "ann"))
    closed = store.batch_of("2026-01-05", "desk")
    assert closed and closed.closed and closed.attempt == 1
