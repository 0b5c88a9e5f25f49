"""Two weeks of collecting and correcting under Dagster, without a model: probes are planted, the gate judges, figures are kept."""

import asyncio
import json
import os
from pathlib import Path

import dagster as dg
import polars as pl

from flywheel.corrections.items import batch_items
from flywheel.corrections.stores import open_store
from flywheel.demo.conversation import converse, inbox_line
from flywheel.demo.week import answer_batch
from flywheel.lake import Lake
from flywheel.operations.launch import run_job
from flywheel.partitions import partition_key
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack
from flywheel_tests.packs import door_simulation

WEEKS = ("2026-04-06", "2026-04-13")


async def useless(messages: list[dict]) -> dict:
    del messages
    return {"role": "assistant", "content": "We value your message."}


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
