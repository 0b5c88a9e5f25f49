"""Weeks are computed once; the same inputs give the same bytes in the same order, in any order of arrival and any number of shards."""

import json
import random

import polars as pl
import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.datasets.export import lines_of
from flywheel.datasets.refresh import refresh
from flywheel.datasets.withdrawals import tainted, withdraw
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.similarity.minhash import VERSION
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, Workshop, called, correction, put, said, workshop


def empty_row(table: str, **values) -> dict:
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


def week_of_rows(pack: Pack, number: int, count: int = 12) -> list[dict]:
    text = "the door at the end of the long corridor is stuck again and squeaks whenever anyone leans on it"
    return [
        correction(pack, f"{text} {'abcdefghijkl'[n]}{number}", called("open_door", door="red"), said(f"done {n}"))
        for n in range(count)
    ]


def test_only_the_new_week_is_computed_and_an_unchanged_one_does_nothing(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], *week_of_rows(pack, 0))
    assert refresh(shop, WEEKS[0]) == [BEFORE_ALL_WEEKS, WEEKS[0]]
    put(shop, WEEKS[1], *week_of_rows(pack, 1))
    assert refresh(shop, WEEKS[1]) == [WEEKS[1]]
    before = lake.all_lineage(workflow=pack.name)
    assert refresh(shop, WEEKS[1]) == [] and lake.all_lineage(workflow=pack.name).equals(before)
    texts = lake.read_weeks("near_duplicate_texts", workflow=pack.name)
    assert texts.height == 24 and set(texts["minhash_version"]) == {VERSION}
    assert any(json.loads(near) for near in texts.filter(week=WEEKS[1])["near"]), "linked to the week before"
    made = build(shop, WEEKS[1])
    assert len({row["near_duplicate_group"] for row in made.sft}) == 1


def test_a_changed_early_week_is_computed_again_and_its_later_links_with_it(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    for number, week in enumerate(WEEKS[:3]):
        put(shop, week, *week_of_rows(pack, number))
    refresh(shop, WEEKS[2])
    put(shop, WEEKS[0], *week_of_rows(pack, 7))
    assert refresh(shop, WEEKS[2]) == [WEEKS[0]]
    fresh = workshop(Lake(lake.root.parent / "other"), pack, renderer)
    for number, week in zip((7, 1, 2), WEEKS[:3], strict=True):
        put(fresh, week, *week_of_rows(pack, number))
    refresh(fresh, WEEKS[2])
    for table in ("training_steps", "near_duplicate_texts"):
        assert lake.read_weeks(table, workflow=pack.name).equals(fresh.lake.read_weeks(table, workflow=pack.name)), (
            table
        )


@pytest.mark.parametrize("shards", [1, 4])
def test_rows_are_byte_identical_in_any_order_and_number_of_shards(
    pack: Pack, renderer: Renderer, lake: Lake, shards: int
):
    shop = workshop(lake, pack, renderer)
    shop = shop._replace(
        pack=Pack(**{**vars(shop.pack), "settings": shop.pack.settings.model_copy(update={"verifiers": ["reward"]})})
    )
    runs = [empty_row("production_traces", shard=n % shards, trace_id=f"{n:016x}", conversation_id=f"v{n}", tools_sha256="x", reward=1.0,
                      messages=json.dumps([{"role": "user", "content": f"close door {n}"}, called("close_door", door="blue"), said(f"closed {n}")]))
            for n in range(9)]  # fmt: skip
    rows = week_of_rows(pack, 0)
    random.Random(shards).shuffle(rows)
    random.Random(shards).shuffle(runs)
    lake.replace_partition("toolsets", [{"tools_sha256": "x", "tools": json.dumps(pack.tools)}], workflow=pack.name)
    lake.replace_partition("production_traces", runs, workflow=pack.name, week=WEEKS[0])
    lake.replace_partition("production_failures", pl.DataFrame(schema={k: v for k, v in TABLES["production_failures"].polars_schema().items()
                                                                        if k not in ("week", "workflow")}), workflow=pack.name, week=WEEKS[0])  # fmt: skip
    put(shop, WEEKS[0], *rows)
    made = build(shop, WEEKS[0])
    assert made.mix.counts["verified"] == [18, 13], "as many as there are corrected rows"
    bytes_of = lines_of(made.sft) + lines_of(made.pairs)
    other = _SEEN.setdefault("bytes", bytes_of)
    assert other == bytes_of and [row["row_id"] for row in made.sft] == sorted(row["row_id"] for row in made.sft)


_SEEN: dict[str, bytes] = {}


def test_an_empty_week_carries_forward(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    put(shop, WEEKS[0], *week_of_rows(pack, 0))
    first = build(shop, WEEKS[0])
    lake.replace_partition(
        "corrected_traces", lake.empty("corrected_traces").drop("week", "workflow"), workflow=pack.name, week=WEEKS[1]
    )
    second = build(shop, WEEKS[1])
    assert second.sft == first.sft and second.computed == [WEEKS[1]]
    assert any("carried forward" in note for note in second.mix.notes)


def withdrawn(shop: Workshop, kind: str, value: str) -> int:
    return withdraw(shop.lake, shop.pack.name, kind, value, by="Dana", reason="asked to")


@pytest.mark.parametrize("kind", ["principal_ref", "batch_version", "source_id"])
def test_a_withdrawal_leaves_every_later_build_as_if_the_source_had_never_been(
    pack: Pack, renderer: Renderer, lake: Lake, kind: str
):
    shop = workshop(lake, pack, renderer)
    rows = week_of_rows(pack, 0)
    poisoned = [correction(pack, f"odd wish {n}", said(f"odd {n}"), principal_ref="p-bad", batch_version="b-bad", annotator="bad", trace_id="t-bad",
                           correction_id=f"c-bad{n if kind != 'source_id' else ''}") for n in range(1 if kind == "source_id" else 3)]  # fmt: skip
    put(shop, WEEKS[0], *rows)
    clean = build(shop, WEEKS[0]).sft
    put(shop, WEEKS[0], *rows, *poisoned)
    made = build(shop, WEEKS[0])
    assert len(made.sft) > len(clean)
    lake.replace_partition("sft_dataset", made.sft, workflow=pack.name, week=WEEKS[0])
    lake.replace_partition("checkpoint", [empty_row("checkpoint", adapter_id="a1")], workflow=pack.name, week=WEEKS[0])
    value = {"principal_ref": "p-bad", "batch_version": "b-bad", "source_id": "c-bad"}[kind]
    assert withdrawn(shop, kind, value) == withdrawn(shop, kind, value) == len(poisoned)
    (found,) = tainted(lake, pack.name, kind, value)
    assert (found.adapter_id, found.rows, found.serving) == ("a1", len(poisoned), False)
    again = build(shop, WEEKS[0])
    assert again.sft == clean and again.mix.reasons()["withdrawn"] == len(poisoned)


def test_nothing_is_withdrawn_by_a_name_nobody_has(pack: Pack, renderer: Renderer, lake: Lake):
    shop = workshop(lake, pack, renderer)
    for kind, said_so in (("principal_ref", "no training step"), ("colour", "nothing can be withdrawn")):
        with pytest.raises(FlywheelError, match=said_so):
            withdrawn(shop, kind, "nobody")
