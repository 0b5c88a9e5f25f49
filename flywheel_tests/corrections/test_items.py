"""What people are handed: planted items stand between the others, and nothing tells them apart."""

import pytest

from flywheel.corrections.events import EventStore
from flywheel.corrections.items import batch_items
from flywheel.corrections.probes import material_of, plant
from flywheel.demo import support_customers
from flywheel.demo.expert_desk import ExpertDesk, Habits
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack, Quality
from flywheel_tests.demo.desk import corrected, make_batch


def test_planted_items_look_like_the_others(lake: Lake, pack: Pack):
    store = EventStore(":memory:")
    first, items, goals = make_batch(store, pack, "2026-01-05", 24)
    ExpertDesk(store, first, pack, support_customers, goals, habits=Habits(mistake=0)).answer(items)
    material = material_of(corrected(store, store.batches()[0], items), items)
    second, later, _ = make_batch(store, pack, "2026-01-12", 40)
    counts = plant(store, second, later.to_dicts(), material, Quality(), last_batch=first)
    assert counts == {"gold": 3, "known_bad": 2, "overlap": 5}
    assert plant(store, second, later.to_dicts(), material, Quality(), last_batch=first) == counts, "twice is once"
    lake.replace_partition("correction_batch", later.drop("week", "workflow"), workflow=pack.name, week="2026-01-12")
    batch = store.batches()[1]
    own, all_ = batch_items(lake, batch), batch_items(lake, batch, store)
    assert list(own) == batch.item_ids and len(all_) == 50 and set(own) < set(all_)
    assert list(all_) == list(store.states(second)) and [item.position for item in all_.values()] == list(range(50))
    assert {len(key) for key in all_} == {16}
    assert len({tuple(map(type, item)) for item in all_.values()}) == 1, "nothing in their kind tells them apart"
    planted = [place for place, key in enumerate(all_) if key not in own]
    assert planted != list(range(40, 50)), "they are not at the end"
    assert not batch.frozen, "planting is no work"
    lake.replace_partition(
        "correction_batch", later.head(3).drop("week", "workflow"), workflow=pack.name, week="2026-01-12"
    )
    with pytest.raises(FlywheelError, match="37 items that were handed out"):
        batch_items(lake, batch, store)
