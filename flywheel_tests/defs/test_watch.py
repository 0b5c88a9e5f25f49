"""The sensors that tell people, on a real instance: a failed run, late traces, a week without a decision."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from flywheel.defs.resources import House
from flywheel.defs.watch import (
    decision_missed,
    incumbent_grown_stale,
    late_traces_arrived,
    run_failed,
    unevaluated_configuration_served,
)
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.operations.launch import run_job
from flywheel.operations.status import status
from flywheel.operations.week_table import failures_of
from flywheel.partitions import partition_key
from flywheel.promotion.pointer import entry
from flywheel.serving.configuration import Configuration
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel_tests.defs.test_stages import trace

HOME = Path(os.environ["FLYWHEEL_HOME"])
WEEK = "2026-05-04"


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "dagster").mkdir()
    return dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides={"telemetry": {"enabled": False}})


@pytest.fixture
def house(tmp_path: Path) -> House:
    shutil.copytree(HOME / "workflows" / "door", tmp_path / "workflows" / "door")
    return House(home=str(tmp_path))


def alerts(home: Path) -> list[dict]:
    file = home / "alerts" / "door.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def test_a_failed_run_tells_owner_stage_cause_remedy_and_link_and_the_status_names_it(instance: dg.DagsterInstance):
    with pytest.raises(FlywheelError, match="sft_dataset was never written"):
        run_job("learn", workflow="door", week=WEEK, on=instance, stages=["checkpoint"])
    (run,) = instance.get_runs()
    failure = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1].get_dagster_event()
    context = dg.build_run_status_sensor_context("run_failed", failure, instance, run).for_run_failure()
    run_failed(context, house=House())
    told = alerts(HOME)[-1]
    assert (told["owner"], told["stage"], told["week"], told["urgency"]) == (
        "team:tests",
        "checkpoint",
        WEEK,
        "morning",
    )
    assert told["cause"].startswith("sft_dataset was never written") and told["remedy"].startswith(
        "run the stage before it"
    )
    assert told["link"].endswith(f"/runs/{run.run_id}") and "it is not affected" in told["serving"]
    assert failures_of(instance, "door", WEEK)["checkpoint"].startswith("sft_dataset was never written")


def test_the_status_shows_the_week_at_a_glance_and_what_waits_for_whom(house: House, tmp_path: Path):
    lake = Lake(tmp_path / "lake")
    lake.replace_partition("production_traces", [trace(1), trace(2)], workflow="door", week=WEEK)
    (shown,) = [one for one in status(Settings(home=tmp_path)) if one["workflow"] == "door"]
    states = {one["stage"]: one for one in shown["stages"]}
    assert (states["production_traces"]["state"], states["production_traces"]["rows"]) == ("done", 2)
    assert (
        states["production_traces"]["version"] == lake.version("production_traces")
        and states["production_traces"]["age_hours"] < 1
    )
    assert states["checkpoint"]["state"] == "not run" and shown["waits_for"] == []
    promoted = {name: None for name in TABLES["promotion"].polars_schema() if name not in ("week", "workflow")}
    promoted |= {"decision_id": "d", "verdict": "PROMOTE", "candidate_adapter_id": "a"}
    lake.replace_partition("promotion", [promoted], workflow="door", week=WEEK)
    pack = tmp_path / "workflows" / "door" / "workflow.yaml"
    pack.write_text(pack.read_text().replace("release: automatic", "release: approval"))
    (shown,) = [one for one in status(Settings(home=tmp_path)) if one["workflow"] == "door"]
    assert any("flywheel promote --workflow door" in waiting for waiting in shown["waits_for"])
    pack.write_text("owner: [broken")
    (shown,) = [one for one in status(Settings(home=tmp_path)) if one["workflow"] == "door"]
    assert "not valid YAML" in shown["waits_for"][0]


def test_late_traces_are_read_again_and_then_offered_to_the_newest_batch(house: House, tmp_path: Path):
    lake, early = Lake(tmp_path / "lake"), "2026-04-27"

    def tick() -> list[dg.RunRequest]:
        made = late_traces_arrived(dg.build_sensor_context(instance=dg.DagsterInstance.ephemeral()), house=house)
        return list(made.run_requests or []) if isinstance(made, dg.SensorResult) else []

    assert tick() == []
    lake.replace_partition("production_traces", [trace(1)], workflow="door", week=WEEK)
    lake.replace_partition("correction_batch", [], workflow="door", week=WEEK)
    ledger = {name: None for name in TABLES["inbox_ledger"].polars_schema() if name != "workflow"}
    ledger |= {"source_file": "f", "first_read_week": WEEK, "weeks": json.dumps({WEEK: 1, early: 1})}
    lake.replace_partition("inbox_ledger", [ledger], workflow="door")
    (request,) = tick()
    assert request.partition_key == partition_key(early, "door") and tick()[0].run_key == request.run_key
    assert [key.to_user_string() for key in request.asset_selection] == ["production_traces", "production_failures"]
    lake.replace_partition("production_traces", [trace(2) | {"first_read_week": WEEK}], workflow="door", week=early)
    lake.replace_partition("production_failures", [], workflow="door", week=early)
    (request,) = tick()
    assert request.partition_key == partition_key(WEEK, "door")
    assert [key.to_user_string() for key in request.asset_selection] == ["correction_batch"]
    lake.replace_partition("correction_batch", [], workflow="door", week=WEEK)
    assert tick() == []


def test_a_week_without_a_decision_is_told_once(house: House, tmp_path: Path):
    Lake(tmp_path / "lake").replace_partition("production_traces", [trace(1)], workflow="door", week="2026-01-05")
    instance, cursor = dg.DagsterInstance.ephemeral(), None
    for _ in range(2):
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        result = decision_missed(context, house=house)
        cursor = result.cursor
    assert (
        len(alerts(tmp_path)) == 1
        and "is not decided" in alerts(tmp_path)[0]["cause"]
        or "never collected" in alerts(tmp_path)[0]["cause"]
    )
    incumbent_grown_stale(dg.build_sensor_context(instance=instance), house=house)
    assert "has not changed for" in alerts(tmp_path)[-1]["cause"]
    assert datetime.fromisoformat(alerts(tmp_path)[-1]["raised_at"]) <= datetime.now(UTC)


def test_a_prompt_that_nobody_evaluated_is_told_once_with_how_to_evaluate_it(house: House, tmp_path: Path):
    lake, pack = Lake(tmp_path / "lake"), house.pack("door")
    parts = Configuration("pack", pack, BaseModel("tiny", tmp_path, "0" * 64, ""), "").parts()
    noted = entry(
        "2026-01-05", "d", "REJECT", "base", "base", datetime.now(UTC), candidate="a", configuration=json.dumps(parts)
    )
    lake.append_new("promotion_log", [noted], workflow="door")
    prompt = [
        {"role": "system", "content": "Let everybody in."},
        {"role": "user", "content": "open"},
        {"role": "assistant", "content": "no"},
    ]
    edited = {**trace(1), "messages": json.dumps(prompt), "adapter_id": "base"}
    lake.replace_partition("production_traces", [edited], workflow="door", week="2026-01-12")
    instance, cursor = dg.DagsterInstance.ephemeral(), None
    for _ in range(2):
        cursor = unevaluated_configuration_served(
            dg.build_sensor_context(instance=instance, cursor=cursor), house=house
        ).cursor
    (told,) = alerts(tmp_path)
    assert told["cause"].startswith("unevaluated_configuration_in_production: 1 of 1 runs carry a system prompt")
    assert (
        told["week"] == "2026-01-12" and "flywheel evaluate --gate pack CONFIGURATION --workflow door" in told["remedy"]
    )
