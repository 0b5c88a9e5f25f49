"""After an erasure the batch goes on: its opening still lists the item, and nobody waits for it, offers it or trips over it."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from flywheel.corrections.closing import close_due_batches, own_states, rolled_over
from flywheel.corrections.erasing import erased_items, items_of
from flywheel.corrections.events import EventStore
from flywheel.corrections.handoff.importing import handed_out, import_return
from flywheel.corrections.handoff.recall import recalls, withdrawn
from flywheel.corrections.items import batch_items, first_pass_items
from flywheel.corrections.lots import close_lot, lot_of, settle_lot
from flywheel.corrections.states import Event
from flywheel.corrections.tables import ERASED
from flywheel.corrections.verdict import judge
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.handoff.house import (
    BATCH,
    WEEK,
    WORKFLOW,
    House,
    batch_of,
    build,
    correction,
    hand_out,
    items,
    part,
)
from flywheel_tests.corrections.stores import CLEAN, FIX, accept, play

NOW = datetime.now(UTC)
OVERLAP = {"kind": "overlap", "source": "i", "item": {"trace_id": "t-i"}, "expected": None, "barred": []}


def opened(store: EventStore, version: str = "v", item_ids: tuple[str, ...] = ("i", "j", "k")) -> str:
    return store.open_batch(week=WEEK, workflow=WORKFLOW, version=version, item_ids=list(item_ids), qa_mode="three")


def test_an_untouched_item_is_erased_by_a_blank_event_that_is_nobodys_work(store: EventStore):
    old, now = opened(store), opened(store, "later")
    store.plant(old, "twin", 0.5, OVERLAP)
    assert store.erase_items(["i", "never-handed-out"]) == 1, "the twin's payload; there was no other"
    assert erased_items(store, old) == {"i", "twin"} and erased_items(store, now) == {"i"}
    with store.database.read() as connection:
        asked = "SELECT payload FROM events WHERE item_id = 'i' ORDER BY sequence"
        assert [row[0] for row in connection.execute(asked).fetchall()] == [ERASED, ERASED]
    assert not any(batch.frozen for batch in store.batches()), "a batch that was replaced does not come back by it"
    current = store.batch_of(WEEK, WORKFLOW)
    assert current and current.name == now and list(store.states(now)) == ["j", "k"]
    before = store.verify_chain()
    assert store.erase_items(["i"]) == 0 and store.verify_chain() == before, "a second time leaves nothing more"
    store.append(now, Event("j", "claim", "ann"))
    assert store.expire_leases(now, now=NOW) == [] and store.verify_chain() == before + 1


def test_what_was_planted_is_found_by_person_run_conversation_and_context(store: EventStore):
    batch = opened(store)
    answers = [{"by": "ann", "context_id": "c1"}, {"by": "bea", "context_id": "c1"}]
    runs = (
        {"principal_ref": "me"},
        {"trace_id": "t1"},
        {"conversation_id": "talk"},
        {"trace_id": "t2", "principal_ref": "you"},
    )
    for number, item in enumerate(runs):
        store.plant(batch, f"p{number}", 0.5, {**OVERLAP, "source": f"s{number}", "item": item})
    store.plant(batch, "torn", 0.6, {"kind": "conflict", "source": None, "barred": [], "answers": answers})
    found = items_of(store, principal_ref="me", trace_ids={"t1"}, conversation_ids={"talk"}, context_ids={"c1"})
    assert found == {"p0", "s0", "p1", "s1", "p2", "s2", "torn"}
    store.erase_items(sorted(found))
    assert items_of(store, principal_ref="me", trace_ids={"t1"}, conversation_ids={"talk"}, context_ids={"c1"}) == set()


def test_a_batch_is_complete_without_its_erased_items(store: EventStore, pack: Pack):
    batch = opened(store)
    accept(store, batch, "j")
    store.append(batch, Event("k", "claim", "ann"))
    assert close_due_batches(store, pack, NOW).waiting[0].waits_for.startswith("1 of 3 items are done")
    store.erase_items(["i", "k"])
    assert "drawn items wait for their audit" in close_due_batches(store, pack, NOW).waiting[0].waits_for
    store.append(batch, Event("j", "audit", "zoe", {"verdict": "passed"}))
    assert close_due_batches(store, pack, NOW).closed == {batch: "complete"}
    assert list(own_states(store, store.batches()[0])) == ["j"] and judge(store, store.batches()[0]).ok
    assert rolled_over(store, WORKFLOW, before_week="2026-02-02") == set()


def test_a_batch_of_erased_items_alone_waits_for_nobody(store: EventStore, pack: Pack):
    batch = opened(store)
    store.erase_items(["i", "j", "k"])
    assert close_due_batches(store, pack, NOW).closed == {batch: "complete"}


def test_a_lot_that_is_sent_back_passes_an_erased_item_over(store: EventStore):
    ids = [f"n{number:02d}" for number in range(30)]
    batch = opened(store, item_ids=tuple(ids))
    for item in ids:
        play(store, batch, item, ("claim", "ann"), ("submit", "ann", FIX), CLEAN, ("start_review", "rob"), ("dispute", "rob"),
             ("start_adjudication", "joy"), ("uphold", "joy", {"note": "it is right"}))  # fmt: skip
    drawn = close_lot(store, batch).drawn
    undrawn = sorted(set(ids) - set(drawn))
    store.erase_items([undrawn[0], drawn[0]])
    for number, item in enumerate(lot_of(store, batch).waiting):
        store.append(batch, Event(item, "audit", "zoe", {"verdict": "passed" if number else "failed"}))
    assert settle_lot(store, batch).status == "sent_back"
    states = store.states(batch)
    assert undrawn[0] not in states and {states[item].status for item in undrawn[1:]} == {"auto_checked"}


@pytest.fixture
def house(tmp_path: Path, pack: Pack) -> House:
    return build(tmp_path, pack, 4)


def forget(house: House, *item_ids: str) -> None:
    """What an erasure does to store and table."""
    house.store.erase_items(list(item_ids))
    rows = house.lake.read_partition("correction_batch", workflow=WORKFLOW, week=WEEK).drop("week", "workflow")
    kept = rows.filter(~pl.col("item_id").is_in(item_ids))
    house.lake.replace_partition("correction_batch", kept, workflow=WORKFLOW, week=WEEK)


def test_an_open_batch_is_served_and_exported_without_the_erased_and_misses_others_still(house: House, tmp_path: Path):
    accept(house.store, BATCH, "item02")
    forget(house, "item01", "item02")
    batch = batch_of(house.store)
    assert list(batch_items(house.lake, batch, house.store)) == ["item00", "item03"]
    assert [item.position for item in first_pass_items(house.lake, batch, house.store)] == [0, 1]
    again = hand_out(house.store, house.lake, house.pack, tmp_path / "again")
    assert again.items == 2 and "item01" not in (again.folder / "items.jsonl").read_text()
    rows = house.lake.read_partition("correction_batch", workflow=WORKFLOW, week=WEEK).drop("week", "workflow").head(1)
    house.lake.replace_partition("correction_batch", rows, workflow=WORKFLOW, week=WEEK)
    with pytest.raises(FlywheelError, match="1 items that were handed out are not in correction_batch: item03"):
        batch_items(house.lake, batch, house.store)


def test_an_item_erased_in_the_store_alone_is_served_to_nobody(house: House):
    """An erasure begins with the store: the row is still there."""
    house.store.erase_items(["item01"])
    assert "item01" not in batch_items(house.lake, batch_of(house.store), house.store)


def test_a_return_is_taken_in_but_for_the_answers_to_erased_items(house: House):
    part(house, [correction(one) for one in items(house)], complete=True)
    forget(house, "item01")
    done = import_return(house.store, house.lake, handed_out(house.folder), house.returns)
    assert done.submitted == ["item00", "item02", "item03"]
    assert done.not_taken == {"item01": "the item's person was erased"}
    assert house.store.verify_chain()


def test_what_was_accepted_and_erased_can_be_called_back_from_the_partner(house: House):
    for item in ("item00", "item03"):
        accept(house.store, BATCH, item)
    (recall,) = recalls(house.store, ["item00", "item01"])
    forget(house, "item00", "item01")
    assert withdrawn(house.store, BATCH, [*recall.item_ids, "item03"], "erasure", "lea") == 1
    assert house.store.state("item03", BATCH).status == "withdrawn"
