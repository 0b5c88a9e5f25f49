"""Two weeks of collecting and correcting under Dagster, without a model: probes are planted, the gate judges, figures are kept."""

import asyncio
import json
import os
from pathlib import Path

import dagster as dg
import polars as pl

from flywheel.corrections.closing import close_now
from flywheel.corrections.items import batch_items
from flywheel.corrections.lots import lot_of
from flywheel.corrections.stores import open_store
from flywheel.demo.conversation import converse, inbox_line
from flywheel.demo.week import answer_batch
from flywheel.lake import TABLES, Lake
from flywheel.operations.launch import run_job
from flywheel.partitions import partition_key
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack
from flywheel_tests.corrections.stores import play
from flywheel_tests.datasets.samples import correction, said
from flywheel_tests.packs import door_simulation

WEEKS = ("2026-04-06", "2026-04-13")
BEFORE, DECIDING, AFTER = "2026-05-04", "2026-05-11", "2026-05-18"


async def useless(messages: list[dict]) -> dict:
    del messages
    return {"role": "assistant", "content": "We value your message."}


def _ask_for_more(lake: Lake, week: str) -> None:
    """What a verdict of the week would leave: two more corrections of its most frequent failure."""
    failures = lake.read_partition("production_failures", workflow="door", week=week).filter(fault="agent")
    kind = failures.group_by("bucket", "tool").len().sort("len", "bucket").row(-1, named=True)
    ask = {"bucket": kind["bucket"], "tool": kind["tool"] or "no tool", "confused_with": "[]", "items_wanted": 2}
    names = [name for name in TABLES["next_asks"].polars_schema() if name not in ("week", "workflow")]
    lake.replace_partition("next_asks", [{**dict.fromkeys(names), **ask}], workflow="door", week=week)


def test_two_weeks_plant_judge_and_account(tmp_path: Path):
    home = Path(os.environ["FLYWHEEL_HOME"])
    settings, lake = Settings(home=home), Lake(home / "lake")
    pack = find_pack(settings.workflows(), "door")
    (tmp_path / "dagster").mkdir()
    instance = dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides={"telemetry": {"enabled": False}})
    for week in WEEKS:
        goals = door_simulation.make_goals(3, 30, week)
        talks = [asyncio.run(converse(goal, useless, pack, door_simulation, budget=3)) for goal in goals]
        lines = [
            inbox_line(g, t, pack, week=week, model="base", number=n)
            for n, (g, t) in enumerate(zip(goals, talks, strict=True))
        ]
        settings.inbox("door").mkdir(parents=True, exist_ok=True)
        (settings.inbox("door") / f"talk-{week}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        settings.simulation("door", week).mkdir(parents=True, exist_ok=True)
        kept = "".join(json.dumps(goal.to_json()) + "\n" for goal in goals)
        (settings.simulation("door", week) / "goals.jsonl").write_text(kept)
        run_job("collect", workflow="door", week=week, on=instance)
        store = open_store(settings, "door")
        batch = store.batch_of(week, "door")
        assert batch and len(batch_items(lake, batch, store)) > len(batch.item_ids) >= 20 and not batch.frozen
        counts = answer_batch(settings, pack, door_simulation, lake, week=week)
        assert (
            counts["accepted"] + counts.get("not_a_failure", 0) >= 15
            and answer_batch(settings, pack, door_simulation, lake, week=week) == {}
        )
        run_job("learn", workflow="door", week=week, on=instance, stages=["corrected_traces"])
        if week == WEEKS[0]:
            _ask_for_more(lake, week)
    picked = lake.read_partition("correction_batch", workflow="door", week=WEEKS[1])["picked_because"]
    assert picked.str.contains("; asked for by the last verdict: ").sum() == 2, (
        "two were wanted, of a kind production has"
    )
    lake.replace_partition("next_asks", [], workflow="door", week=WEEKS[0])  # other tests share this house
    states = store.states(batch.name)
    kinds = [state.planted for state in states.values() if state.planted]
    assert {"overlap", "gold"} <= set(kinds) and len(kinds) <= len(batch.item_ids) / 4
    rows = lake.read_partition("corrected_traces", workflow="door", week=WEEKS[1])
    assert set(rows["item_id"]) <= set(batch.item_ids) and set(rows["annotator_kind"]) == {"simulated"}
    quality = lake.read_partition("correction_quality", workflow="door", week=WEEKS[1])
    assert {"gold_pass_rate", "agreement_arguments", "audit_failed", "active_seconds"} <= set(quality["figure"])
    effort = lake.read_partition("correction_effort", workflow="door", week=WEEKS[1])
    assert effort.filter(pl.col("role") == "auditor")["timed"].sum() > 0
    filters = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey("corrected_traces"), asset_partitions=[partition_key(WEEKS[1], "door")]
    )
    (record,) = instance.fetch_materializations(filters, limit=5).records
    metadata = record.asset_materialization.metadata if record.asset_materialization else {}
    assert "gold_pass_rate" in str(metadata["quality"].value) and "simulated-annotator-1" in str(
        metadata["effort"].value
    )


def test_a_conflict_goes_through_the_assets_and_is_settled_once(tmp_path: Path):
    home = Path(os.environ["FLYWHEEL_HOME"])
    settings, lake = Settings(home=home), Lake(home / "lake")
    pack = find_pack(settings.workflows(), "door")
    answers = [
        correction(pack, "open the blue door", said(text), annotator=name)
        for text, name in (("yes", "ann"), ("no", "bea"))
    ]
    lake.replace_partition("corrected_traces", answers, workflow="door", week=BEFORE)
    found = [
        {"context_id": "context", "row_id": row["item_id"], "source": "correction", "source_id": row["correction_id"], "message_index": 2,
         "from_week": BEFORE, "trace_id": row["trace_id"], "conversation_id": row["conversation_id"], "principal_ref": row["principal_ref"],
         "annotator": row["annotator"], "answer_id": text, "target": json.dumps(said(text))}
        for row, text in zip(answers, ("yes", "no"), strict=True)
    ]  # fmt: skip
    lake.replace_partition("dataset_conflicts", found, workflow="door", week=BEFORE)
    for week in (DECIDING, AFTER):
        for table in ("production_traces", "production_failures"):
            lake.replace_partition(table, lake.empty(table).drop("week", "workflow"), workflow="door", week=week)
    instance = dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}})
    run_job("collect", workflow="door", week=DECIDING, on=instance, stages=["correction_batch"])
    items = lake.read_partition("correction_batch", workflow="door", week=DECIDING)
    mine = [
        row for row in items.iter_rows(named=True) if row["picked_because"].startswith("conflict: 2 accepted answers")
    ]
    assert len(mine) == 1 and "by ann and bea" in mine[0]["picked_because"]
    store, item_id = open_store(settings, "door"), mine[0]["item_id"]
    batch = store.batch_of(DECIDING, "door")
    assert batch
    state = store.state(item_id, batch.name)
    assert state.status == "disputed"
    no = [answer["by"] for answer in state.answers].index("bea")
    play(
        store,
        batch.name,
        item_id,
        ("start_adjudication", "joy"),
        ("uphold", "joy", {"note": "it is shut", "chosen": no}),
    )
    close_now(store, pack, batch, by="lea")
    for drawn in lot_of(store, batch.name).waiting:
        play(store, batch.name, drawn, ("audit", "zoe", {"verdict": "passed"}))
    close_now(store, pack, batch, by="lea")
    run_job("learn", workflow="door", week=DECIDING, on=instance, stages=["corrected_traces"])
    (decision,) = lake.read_partition("conflict_decisions", workflow="door", week=DECIDING).iter_rows(named=True)
    assert (decision["decision"], decision["item_id"], decision["adjudicator"]) == ("settled", item_id, "joy")
    (row,) = lake.read_partition("corrected_traces", workflow="door", week=DECIDING).iter_rows(named=True)
    assert row["correction_id"] == decision["correction_id"] and json.loads(row["messages"])[-1] == said("no")
    run_job("collect", workflow="door", week=AFTER, on=instance, stages=["correction_batch"])
    later = lake.read_partition("correction_batch", workflow="door", week=AFTER)
    assert item_id not in set(later["item_id"]), "what is decided is not handed out again"
