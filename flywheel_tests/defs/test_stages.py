"""Stages under a real Dagster instance: twice is once, a failed blocking check stops, and each asks for what is missing."""

import json
import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from flywheel.corrections.events import EventStore
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations.launch import run_job
from flywheel.partitions import partition_key
from flywheel_tests.corrections.stores import FIX, accept
from flywheel_tests.promotion.house import blank
from flywheel_tests.traces.test_inbox import line

WEEK = "2026-02-02"


def trace(number: int) -> dict:
    """One production_traces row."""
    empty = {name: None for name in TABLES["production_traces"].polars_schema() if name not in ("week", "workflow")}
    return {
        **empty,
        "shard": 0,
        "trace_id": f"t{number}",
        "messages": json.dumps(line(number)["messages"]),
        "environment": "production",
    }


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "dagster").mkdir()
    return dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides={"telemetry": {"enabled": False}})


@pytest.fixture
def home() -> Path:
    """The session's house, with an inbox for the door pack in a week no other test uses."""
    home = Path(os.environ["FLYWHEEL_HOME"])
    (home / "inbox" / "door").mkdir(parents=True, exist_ok=True)
    lines = [line(f"stage-{n}", started_at="2026-02-03T10:00:00Z") for n in range(4)]
    (home / "inbox" / "door" / "stages.jsonl").write_text("\n".join(json.dumps(text) for text in lines) + "\n{broken\n")
    return home


def test_collect_twice_gives_the_same_rows_and_does_no_work(home: Path, instance: dg.DagsterInstance):
    lake = Lake(home / "lake")
    run_job("collect", workflow="door", week=WEEK, on=instance)
    first = lake.all_lineage(workflow="door").filter(week=WEEK).sort("table_name")
    run_job("collect", workflow="door", week=WEEK, on=instance)
    assert lake.all_lineage(workflow="door").filter(week=WEEK).sort("table_name").equals(first), (
        "nothing was written again"
    )
    assert lake.read_partition("production_traces", workflow="door", week=WEEK).height == 4
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey("production_traces"), asset_partitions=[partition_key(WEEK, "door")]
        ),
        limit=9,
    ).records
    assert [r.asset_materialization.metadata["unchanged"].value for r in records if r.asset_materialization] == [
        True,
        False,
    ]


def test_a_new_line_changes_the_week_it_belongs_to(home: Path, instance: dg.DagsterInstance):
    run_job("collect", workflow="door", week=WEEK, on=instance)
    with (home / "inbox" / "door" / "stages.jsonl").open("a") as file:
        file.write(json.dumps(line("late", started_at="2026-02-05T10:00:00Z")) + "\n")
    run_job("collect", workflow="door", week=WEEK, on=instance)
    assert Lake(home / "lake").read_partition("production_traces", workflow="door", week=WEEK).height == 5


def test_a_week_before_that_is_read_later_changes_what_recurs(home: Path, instance: dg.DagsterInstance):
    lake, stage = Lake(home / "lake"), ["production_failures"]
    run_job("collect", workflow="door", week=WEEK, on=instance)
    (first,) = lake.all_lineage(workflow="door").filter(week=WEEK, table_name="failure_clusters").to_dicts()
    gone = {"failure_cluster": "open_door · wrong_arguments · gone", "tool": "open_door", "bucket": "wrong_arguments", "failures": 3,
            "first_seen_week": "2026-01-26", "last_seen_week": "2026-01-26", "by_adapter": '{"base":[3,9]}', "example": "x", "status": "new"}  # fmt: skip
    lake.replace_partition("failure_clusters", [blank("failure_clusters", **gone)], workflow="door", week="2026-01-26")
    run_job("collect", workflow="door", week=WEEK, on=instance, stages=stage)
    clusters = lake.read_partition("failure_clusters", workflow="door", week=WEEK)
    assert gone["failure_cluster"] in set(clusters["failure_cluster"]), (
        "the backfilled week's failures are not forgotten"
    )
    lake.replace_partition("failure_clusters", [], workflow="door", week="2026-01-26")  # the house is shared
    run_job("collect", workflow="door", week=WEEK, on=instance, stages=stage)
    (last,) = lake.all_lineage(workflow="door").filter(week=WEEK, table_name="failure_clusters").to_dicts()
    assert last["content_sha256"] == first["content_sha256"]


def test_a_failed_blocking_check_stops_the_week_and_is_named(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    from flywheel.lake.store import Lake as Store

    honest = Store.replace_partition

    def lying(self, table, rows, **rest):
        if table == "inbox_ledger":
            rows = [{**row, "accepted": row["accepted"] + 1} for row in rows]
        return honest(self, table, rows, **rest)

    with (home / "inbox" / "door" / "stages.jsonl").open("a") as file:
        file.write(json.dumps(line("other", started_at="2026-02-05T10:00:00Z")) + "\n")
    lake = Lake(home / "lake")
    before = lake.read_partition("inbox_ledger", workflow="door").drop("workflow")
    monkeypatch.setattr(Store, "replace_partition", lying)
    with pytest.raises(FlywheelError, match="every_line_is_accounted_for"):
        run_job("collect", workflow="door", week=WEEK, on=instance)
    monkeypatch.undo()
    lake.replace_partition("inbox_ledger", before, workflow="door")  # the house is shared: no lie is left in it


@pytest.mark.parametrize(
    ("stage", "job", "said"),
    [("production_failures", "collect", "production_traces was never written"), ("checkpoint", "learn", "sft_dataset was never written"),
     ("promotion", "learn", "eval_results was never written")],
)  # fmt: skip
def test_a_lone_stage_without_its_input_names_the_stage_to_run(
    home: Path, instance: dg.DagsterInstance, stage: str, job: str, said: str
):
    del home
    with pytest.raises(FlywheelError, match=said) as caught:
        run_job(job, workflow="door", week="2026-03-02", on=instance, stages=[stage])
    assert "flywheel run --workflow door --week 2026-03-02 --stage" in caught.value.remedy
    assert not Lake(Path(os.environ["FLYWHEEL_HOME"]) / "lake").has_partition(stage, workflow="door", week="2026-03-02")


def test_the_report_is_made_and_says_why_learn_did_not_run(home: Path, instance: dg.DagsterInstance):
    run_job("collect", workflow="door", week=WEEK, on=instance)
    report = Lake(home / "lake").read_partition("weekly_report", workflow="door", week=WEEK).row(0, named=True)
    assert not report["learn_ran"] and (home / report["path"]).is_file()
    assert isinstance(Lake(home / "lake").read_weeks("weekly_report", workflow="door"), pl.DataFrame)


def test_items_of_a_batch_closed_at_its_deadline_come_first_in_the_next_and_a_failed_gate_trains_nothing(
    home: Path, instance: dg.DagsterInstance
):
    weeks, lake = ("2026-03-09", "2026-03-16"), Lake(home / "lake")
    for week, day in zip(weeks, ("2026-03-10", "2026-03-17"), strict=True):
        lines = [line(f"roll-{week}-{n}", started_at=f"{day}T1{n}:00:00Z") for n in range(6)]
        (home / "inbox" / "door" / f"roll-{week}.jsonl").write_text(
            "\n".join(json.dumps(text) for text in lines) + "\n"
        )
    run_job("collect", workflow="door", week=weeks[0], on=instance)
    store = EventStore(home / "qa" / "door.sqlite", workflow="door")
    batch = store.batch_of(weeks[0], "door")
    assert batch and len(batch.item_ids) >= 2
    done, left = batch.item_ids[0], batch.item_ids[1:]
    right = json.loads(lake.read_partition("correction_batch", workflow="door", week=weeks[0])["messages"][0])
    accept(store, batch.name, done, fix=FIX | {"messages": right[: FIX["first_bad_message_index"] + 1]})
    store.close_batch(batch.name, reason="deadline")
    with pytest.raises(FlywheelError, match="1 accepted items were never audited"):
        run_job("learn", workflow="door", week=weeks[0], on=instance, stages=["corrected_traces"])
    run_job("collect", workflow="door", week=weeks[1], on=instance)
    next_batch = store.batch_of(weeks[1], "door")
    assert next_batch and set(left) <= set(next_batch.item_ids) and done not in next_batch.item_ids
    assert next_batch.item_ids[: len(left)] == sorted(left, key=next_batch.item_ids.index)
