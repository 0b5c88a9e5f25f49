"""The held-out split and the caps that are off by default, switched on and kept for ten weeks."""

import json
from collections import Counter
from typing import Any

import polars as pl
import pytest

from flywheel.chat import Renderer
from flywheel.datasets.build import Build, build
from flywheel.datasets.refresh import Workshop
from flywheel.datasets.splits import known_groups
from flywheel.lake import Lake
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop
from flywheel_tests.datasets.test_probes import words

SHARE, WEEKLY = 0.2, 20


def test_over_ten_weeks_the_split_is_stratified_grows_only_and_nothing_near_it_trains(
    pack: Pack, renderer: Renderer, lake: Lake
):
    shop = workshop(lake, pack, renderer, held_out=SHARE)
    texts: list[str] = []
    held_before: set[str] = set()
    trained_before: set[str] = set()
    for number, week in enumerate(WEEKS):
        fresh = [f"about matter {number} {n} " + words(100 * number + n, 12) for n in range(WEEKLY)]
        rows = [
            correction(pack, text, said(f"answer {number} {n}"), bucket="refusal_error") if n % 2 else
            correction(pack, text, called("open_door", door="red"), bucket="wrong_arguments")
            for n, text in enumerate(fresh)
        ]  # fmt: skip
        # Twins of earlier requests come back, some of them of a held-out group.
        rows += [
            correction(pack, text + " please", said(f"again {number} {n}"), bucket="refusal_error")
            for n, text in enumerate(texts[-12:])
        ]
        put(shop, week, *rows)
        made = build(shop, week)
        held = lake.read_weeks("held_out", workflow=pack.name)
        said_in = {
            " ".join(m["content"] for m in json.loads(row["messages"]) if m["role"] == "user") for row in made.sft
        }
        barred = {" ".join(m["content"] for m in json.loads(text) if m["role"] == "user") for text in held["messages"]}
        stems = {text.removesuffix(" please") for text in barred}
        assert not {text.removesuffix(" please") for text in said_in} & stems, "neither it nor a twin of it"
        assert held_before <= set(held["row_id"]), "what is held out stays so"
        new = held.filter(held_out_week=week)
        assert not set(new["near_duplicate_group"]) & trained_before, (
            "a group that trained is never held out afterwards"
        )
        held_before = set(held["row_id"])
        trained_before |= {row["near_duplicate_group"] for row in made.sft}
        texts += fresh
    groups = held.unique("near_duplicate_group").group_by("stratum").len()
    seen = dict(groups.rows())
    assert set(seen) == {"refusal_error · no call", "wrong_arguments · open_door"}
    for count in seen.values():
        assert abs(count - SHARE * WEEKLY / 2 * len(WEEKS)) <= 2, seen
    weeks = Counter(held["held_out_week"])
    assert set(weeks) == set(WEEKS), "every week gives its part: the split goes by time as well"


def test_over_ten_weeks_tenant_and_template_caps_hold(pack: Pack, renderer: Renderer, lake: Lake):
    caps = pack.settings.datasets.caps.model_copy(update={"tenant": 0.3, "template": 5})
    shop = workshop(lake, pack, renderer, caps=caps, row_budget=60, replay=0.0)
    for number, week in enumerate(WEEKS):
        rows = [
            correction(
                pack, f"open number {number}{n}", called("open_door", door="red"), conversation_id=f"k{number}-{n}"
            )
            for n in range(4)
        ]  # one request, with another number each time
        rows += [correction(pack, words(100 * number + n, 8), said(f"answer {number} {n}")) for n in range(12)]
        put(shop, week, *rows)
        lake.replace_partition("production_traces", [
            {**dict.fromkeys(name for name in lake.empty("production_traces").columns if name not in ("week", "workflow")), "shard": 0,
             "trace_id": row["trace_id"], "tenant_id": "big" if n % 4 else f"small{n}"}
            for n, row in enumerate(rows)
        ], workflow=pack.name, week=week)  # fmt: skip
        made = build(shop, week)
        tenants = Counter(row["tenant_id"] for row in made.mix.kept)
        templates = Counter(row["template_id"] for row in made.mix.kept)
        assert tenants["big"] <= 0.3 * 60 and max(templates.values()) <= 5
    reasons = made.mix.reasons()
    assert reasons["cap_tenant"] > 0 and reasons["cap_template"] > 0 and len(made.sft) + sum(reasons.values()) == 160


def asks(pack: Pack, first: int, count: int = 10) -> list[dict[str, Any]]:
    """Corrections with nothing in common, of one stratum."""
    return [correction(pack, words(first + n, 12), called("open_door", door="red")) for n in range(count)]


def written(shop: Workshop, week: str) -> Build:
    """A week's build, its dataset written as the stage does."""
    made = build(shop, week)
    shop.lake.replace_partition("sft_dataset", made.sft, workflow=shop.pack.name, week=week)
    return made


def groups_held(shop: Workshop, week: str | None = None) -> set[str]:
    held = shop.lake.read_weeks("held_out", workflow=shop.pack.name)
    return set((held if week is None else held.filter(held_out_week=week))["near_duplicate_group"])


@pytest.mark.parametrize("off_for", [1, 2])
def test_a_week_built_again_after_switching_on_holds_out_nothing_that_trained(
    pack: Pack, renderer: Renderer, lake: Lake, off_for: int
):
    off, on = workshop(lake, pack, renderer), workshop(lake, pack, renderer, held_out=0.5)
    for number, week in enumerate(WEEKS[:3]):
        put(off, week, *asks(pack, 100 * number))
    trained = {row["row_id"]: row["near_duplicate_group"] for week in WEEKS[:off_for] for row in written(off, week).sft}
    later = WEEKS[off_for]
    before = {row["row_id"] for row in written(on, later).sft}
    assert len(trained) == 10 * off_for and len(groups_held(on)) == 5 and set(trained) <= before
    again = {row["row_id"] for row in written(on, WEEKS[0]).sft}
    assert len(again) == 10 and again <= set(trained) and not groups_held(on, WEEKS[0]), "row for row what it was"
    assert {row["row_id"] for row in written(on, later).sft} == before
    assert not groups_held(on) & set(trained.values())


def demonstration(pack: Pack, text: str) -> dict[str, Any]:
    """A DEMONSTRATIONS row of one step."""
    messages = [
        {"role": "system", "content": pack.system},
        {"role": "user", "content": text},
        called("open_door", door="red"),
    ]
    return {
        "demonstration_id": text[:16], "conversation_id": f"shown {text[:16]}", "tools": canonical_json(pack.tools),
        "messages": canonical_json(messages), "annotator_kind": "human", "annotator": "ann", "reviewer": "rob", "qa_mode": "two",
        "source_file": "mine.jsonl", "source": "person", "teacher": None, "trains_from": 0, "trace_id": None, "principal_ref": None,
        "tenant_id": None,
    }  # fmt: skip


def test_a_group_that_a_demonstration_showed_first_is_not_new_with_its_first_correction(
    pack: Pack, renderer: Renderer, lake: Lake
):
    shop = workshop(lake, pack, renderer, held_out=0.5, demonstrations=0.9)
    shown = [demonstration(pack, words(n, 12)) for n in range(10)]
    lake.replace_partition("demonstrations", shown, workflow=pack.name)
    put(shop, WEEKS[0], *asks(pack, 0, 20))
    texts = {json.loads(row["messages"])[1]["content"] for row in shown}
    build(shop, WEEKS[0])
    held = lake.read_weeks("held_out", workflow=pack.name)
    assert held.height and not {json.loads(row)[1]["content"] for row in held["messages"]} & texts


def test_groups_are_known_by_any_source_s_earlier_week_and_by_what_trained_under_another_name():
    rows = pl.DataFrame(
        [
            ("a", "shown", BEFORE_ALL_WEEKS, ""), ("b", "verified", WEEKS[0], ""), ("c", "too long", WEEKS[0], "too_long"),
            ("d", "joined since", WEEKS[1], ""), ("e", "new", WEEKS[1], ""),
        ],
        schema=["row_id", "near_duplicate_group", "week", "kept_out"], orient="row",
    )  # fmt: skip
    trained = pl.DataFrame({"row_id": ["d", "f"], "near_duplicate_group": ["its old name", "later"]})
    assert known_groups(rows, trained, WEEKS[1]) == {"shown", "verified", "joined since", "its old name", "later"}
    assert known_groups(rows, trained.clear(), WEEKS[0]) == {"shown"}
