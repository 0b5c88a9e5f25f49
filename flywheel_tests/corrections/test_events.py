"""The event store: append-only, chained, and separate duties even for code that goes around the state machine."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from flywheel.corrections.closing import current_batches
from flywheel.corrections.events import EventStore
from flywheel.corrections.states import Event
from flywheel.corrections.stores import every_store, open_store
from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel_tests.corrections.stores import CLEAN, FIX, accept, play

REFUSED = (sqlite3.IntegrityError, IntegrityError)


def opened(store: EventStore, version: str = "v1", week: str = "2026-01-05", workflow: str = "desk") -> str:
    return store.open_batch(week=week, workflow=workflow, version=version, item_ids=["i", "j"], qa_mode="three")


def test_state_survives_reopening(store: EventStore, location: Path | str):
    batch = opened(store)
    play(store, batch, "i", ("claim", "ann"), ("submit", "ann", FIX))
    again = EventStore(location)
    assert again.state("i", batch) == store.state("i", batch) == again.states(batch)["i"]
    assert again.state("i", batch).status == "submitted" and again.verify_chain() == 3
    assert list(again.states(batch)) == ["i", "j"] and again.states(batch)["j"].status == "queued"


def test_a_refused_event_leaves_nothing_behind(store: EventStore):
    batch = opened(store)
    for event in (
        Event("i", "submit", "ann", FIX),
        Event("nobody", "claim", "ann"),
        Event("i", "plant", "ann"),
        Event("i", "open", "ann"),
    ):
        with pytest.raises(FlywheelError):
            store.append(batch, event)
    with pytest.raises(FlywheelError, match="surrogate"):
        store.append(batch, Event("i", "claim", "ann", {"note": "\ud800"}))
    assert store.verify_chain() == 1 and store.not_for(batch, "ann")["reviewer"] == set()


def test_what_the_actor_saw_last_tells_a_replay_from_a_first_request(store: EventStore):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"), after=0)
    last = store.since(0)[-1].sequence
    store.append(batch, Event("i", "submit", "ann", FIX), after=last)
    with pytest.raises(FlywheelError, match="moved on"):
        store.append(batch, Event("i", "submit", "ann", FIX), after=last)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'bob'",
        """UPDATE events SET payload = '{"erased": true}', kind = 'accept'""",
        "UPDATE events SET payload = '{}'",
        "DELETE FROM events",
        "INSERT INTO roles VALUES ('i', 'ann', 'reviewer')",
        "UPDATE roles SET role = 'reviewer'",
        "DELETE FROM roles",
        "DELETE FROM members",
        "UPDATE salts SET salt = 'mine'",
        "INSERT INTO roles VALUES ('j', 'eve', 'annotator')",
        "INSERT INTO events VALUES (9, 'w', 'b', 'i', 'accept', 'rob', NULL, '{}', 'h', 't', 'p', 'h9')",
        "INSERT INTO events VALUES (9, 'w', 'b', 'i', 'accept', 'ann', 'reviewer', '{}', 'h', 't', 'p', 'h9')",
        "INSERT INTO events VALUES (9, 'w', 'b', 'i', 'audit', 'ann', 'annotator', '{}', 'h', 't', 'p', 'h9')",
        "INSERT INTO events SELECT 9, workflow, batch, item_id, kind, actor, role, payload, payload_sha256, at, previous_hash, 'fork' FROM events WHERE sequence = 2",
    ],
)
def test_the_database_refuses(store: EventStore, statement: str):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    with store.database.write() as connection:
        connection.execute("INSERT INTO bars VALUES ('j', 'eve', 'annotator')")
    with pytest.raises(REFUSED):
        with store.database.write() as connection:
            connection.execute(statement)
    assert store.verify_chain() == 2


def test_tampering_breaks_the_chain(store: EventStore):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    on = "" if store.database.where.endswith(".sqlite") else " ON events"
    with store.database.write() as connection:
        connection.execute(f"DROP TRIGGER events_are_final{on}")
        connection.execute("UPDATE events SET actor = 'bob', role = NULL WHERE kind = 'open'")
    with pytest.raises(FlywheelError, match="changed after it was written"):
        store.verify_chain()


def test_someone_who_gave_an_item_back_cannot_review_it_later(store: EventStore):
    batch = opened(store)
    play(store, batch, "i", ("claim", "ann"), ("give_back", "ann"), ("claim", "bob"), ("submit", "bob", FIX), CLEAN)
    with pytest.raises(FlywheelError, match="was the item's annotator before"):
        store.append(batch, Event("i", "start_review", "ann"))
    assert store.not_for(batch, "ann") == {
        "annotator": set(),
        "reviewer": {"i"},
        "adjudicator": {"i"},
        "auditor": {"i"},
    }


def test_leases_expire_an_hour_after_the_last_event_or_draft(store: EventStore):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    now = datetime.now(UTC)
    assert store.expire_leases(batch, now=now + timedelta(minutes=59)) == []
    store.save_draft(batch, "i", "ann", {"text": "half"}, at=now + timedelta(minutes=50))
    assert store.draft(batch, "i", "ann") == {"text": "half"} and store.draft(batch, "i", "bob") is None
    assert store.expire_leases(batch, now=now + timedelta(minutes=109)) == []
    assert store.expire_leases(batch, now=now + timedelta(minutes=111)) == ["i"]
    assert store.state("i", batch).status == "queued"
    assert store.draft(batch, "i", "ann") == {"text": "half"}, "its holder may come back to it"


def test_a_reviewers_lease_expires_too_and_submitting_ends_a_draft(store: EventStore):
    batch = opened(store)
    store.append(batch, Event("i", "claim", "ann"))
    store.save_draft(batch, "i", "ann", {"text": "half"})
    play(store, batch, "i", ("submit", "ann", FIX), CLEAN, ("start_review", "rob"))
    assert store.draft(batch, "i", "ann") is None
    assert store.expire_leases(batch, now=datetime.now(UTC) + timedelta(minutes=61)) == ["i"]
    state = store.state("i", batch)
    assert (state.status, state.reviewer) == ("auto_checked", None)
    play(store, batch, "i", ("start_review", "rob"), ("accept", "rob"))
    store.save_draft(batch, "j", "ann", {})
    store.clear_draft(batch, "j", "ann")
    assert store.draft(batch, "j", "ann") is None


def test_a_batch_people_work_on_is_frozen_and_a_closed_one_takes_no_more(store: EventStore):
    first = opened(store)
    assert opened(store) == first
    second = opened(store, "v2")
    assert second != first, "nobody had claimed anything yet"
    store.append(second, Event("i", "claim", "ann"))
    assert opened(store, "v3") == second
    batch = store.batch_of("2026-01-05", "desk")
    assert batch and batch.version == "v2" and batch.frozen and not batch.closed and batch.name == second
    store.close_batch(second, reason="deadline", by="lea")
    store.close_batch(second)
    with pytest.raises(FlywheelError, match="next batch"):
        store.append(second, Event("j", "claim", "ann"))
    closed = store.batch_of("2026-01-05", "desk")
    assert closed and closed.closed and (closed.attempt, closed.closed_because) == (1, "deadline")


def test_an_earlier_version_that_is_asked_for_again_is_in_force_again(store: EventStore, location: Path | str):
    def current() -> list[str | None]:
        found = EventStore(location).batch_of("2026-01-05", "desk")
        return [found.name if found else None, *(batch.name for batch in current_batches(store, "desk"))]

    first, second = opened(store, "v1"), opened(store, "v2")
    other = opened(store, "v1", week="2026-01-12")
    plant = {"kind": "overlap", "source": "i", "item": {}, "expected": None, "barred": []}
    store.plant(first, "t", 0.5, plant)
    assert current() == [second, second, other]
    salt, opening = store.salt(first), store.history(first)[0].event
    assert opened(store, "v1") == first and opened(store, "v1") == first and current() == [first, first, other]
    assert [one.event.kind for one in store.history(first)] == ["open", "plant", "open"], "said once"
    assert store.history(first)[2].event.payload == opening.payload and store.salt(first) == salt
    assert [batch.name for batch in store.batches()] == [second, other, first]
    assert store.batches()[2].opened_at > opening.at, "its deadline runs from the last opening"
    with pytest.raises(FlywheelError, match="another version of the week's batch"):
        store.append(second, Event("i", "claim", "ann"))
    with pytest.raises(FlywheelError, match="another version of the week's batch"):
        store.export_batch(second, "hash")
    assert opened(store, "v2") == second and current() == [second, second, other]
    store.append(second, Event("i", "claim", "ann"))
    assert opened(store, "v1") == second and current() == [second, second, other] and store.verify_chain() == 7


def test_an_erased_item_is_blank_takes_nothing_more_and_the_chain_stands(store: EventStore):
    batch = opened(store)
    accept(store, batch, "i")
    store.save_draft(batch, "j", "ann", {"text": "zz-erase-me"})
    assert store.erase_items(["i", "j"]) == 5 and store.erase_items(["i", "j"]) == 0
    assert list(store.states(batch)) == [] and store.draft(batch, "j", "ann") is None
    for item, kind in (("i", "report_privacy"), ("j", "claim")):
        with pytest.raises(FlywheelError, match="erased"):
            store.append(batch, Event(item, kind, "zoe"))
    assert store.verify_chain() == 7


def test_reporting_personal_data_takes_the_twin_out_too_and_withdrawing_needs_a_reason(store: EventStore):
    batch = opened(store)
    payload = {"kind": "overlap", "source": "i", "item": {}, "expected": None, "barred": []}
    assert store.plant(batch, "t", 0.5, payload) and not store.plant(batch, "t", 0.5, payload)
    assert list(store.states(batch)) == ["i", "t", "j"] and not store.batches()[0].frozen
    store.append(batch, Event("i", "report_privacy", "ann"))
    assert {key: state.status for key, state in store.states(batch).items()} == {
        "i": "quarantined",
        "t": "quarantined",
        "j": "queued",
    }
    accept(store, batch, "j")
    store.close_batch(batch)
    with pytest.raises(FlywheelError, match="needs its reason"):
        store.append(batch, Event("j", "withdraw", "lea"))
    assert store.append(batch, Event("j", "withdraw", "lea", {"reason": "poisoning"})).status == "withdrawn"


def test_one_store_serves_several_workflows(store: EventStore, location: Path | str, tmp_path: Path):
    opened(store), opened(store, workflow="shop")
    assert [batch.workflow for batch in EventStore(location, workflow="shop").batches()] == ["shop"]
    assert len(store.batches()) == 2 and len(EventStore(location, workflow="shop").since(0)) == 1
    settings = (
        Settings(home=tmp_path, FLYWHEEL_QA_STORE=str(location))
        if isinstance(location, str)
        else Settings(home=tmp_path)
    )  # type: ignore[call-arg]
    (tmp_path / "qa").mkdir(exist_ok=True)
    (tmp_path / "qa" / "desk.workbench.sqlite").write_text("grades, and no store of events")
    assert {batch.workflow for one in every_store(settings) for batch in one.batches()} == {"desk", "shop"}
    assert [batch.workflow for batch in open_store(settings, "desk").batches()][:1] == ["desk"]


def test_of_many_who_claim_at_once_one_gets_it_and_the_chain_has_one_end(store: EventStore, location: Path | str):
    batch = store.open_batch(
        week="2026-01-05", workflow="desk", version="v", item_ids=[f"i{n}" for n in range(6)], qa_mode="three"
    )
    won: list[str] = []

    def work(name: str) -> None:
        mine = EventStore(location)
        for number in range(6):
            try:
                mine.append(batch, Event(f"i{number}", "claim", name))
            except FlywheelError:
                continue
            won.append(f"i{number}")

    threads = [threading.Thread(target=work, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [f"i{n}" for n in range(6)] and store.verify_chain() == 7
    assert [one.sequence for one in store.since(0)] == list(range(1, 8))


def test_another_scheme_and_an_older_file_are_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(FlywheelError, match="cannot lie at mysql"):
        EventStore("mysql://host/db")
    with sqlite3.connect(tmp_path / "old.sqlite") as raw:
        raw.execute("CREATE TABLE events (sequence INTEGER)")
    with pytest.raises(FlywheelError, match="has format 0"):
        EventStore(tmp_path / "old.sqlite")
