"""The held-out split and the caps that are off by default, switched on and kept for ten weeks."""

import json
from collections import Counter

from flywheel.chat import Renderer
from flywheel.datasets.build import build
from flywheel.lake import Lake
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
