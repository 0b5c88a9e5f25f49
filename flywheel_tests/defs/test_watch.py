"""The sensors that tell people, on a real instance: a failed run, late traces, a week without a decision."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from flywheel.definitions import defs
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


def alerts(home: Path, workflow: str = "door") -> list[dict]:
    file = home / "alerts" / f"{workflow}.jsonl"
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


def crashed(instance: dg.DagsterInstance, origin: RemoteJobOrigin | None = None) -> dg.DagsterRun:
    """A run of `learn` that Dagster's monitoring found dead before its first stage, and the sensor's tick for it."""
    key = partition_key(WEEK, "door")
    tags = {"dagster/partition": key, "dagster/partition/week": WEEK, "dagster/partition/workflow": "door"}
    job, state = defs.resolve_job_def("learn"), dg.DagsterRunStatus.STARTED
    run = instance.create_run_for_job(job, tags=tags, remote_job_origin=origin, status=state)
    instance.report_run_failed(run, "Detected run worker status UNKNOWN: the pod is gone. Marking run as failed.")
    failure = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[-1].get_dagster_event()
    run_failed(
        dg.build_run_status_sensor_context("run_failed", failure, instance, run).for_run_failure(), house=House()
    )
    return run


def test_a_crashed_run_tells_once_what_ended_it_and_what_to_do(instance: dg.DagsterInstance):
    before = len(alerts(HOME))
    run = crashed(instance)
    (told,) = alerts(HOME)[before:]
    assert (told["owner"], told["stage"], told["week"]) == ("team:tests", "corrected_traces", WEEK)
    assert told["cause"] == "Detected run worker status UNKNOWN: the pod is gone. Marking run as failed."
    assert "memory" in told["remedy"] and "run the same command again" in told["remedy"]
    assert told["link"].endswith(f"/runs/{run.run_id}") and told["urgency"] == "morning"
    assert failures_of(instance, "door", WEEK) == {"corrected_traces": told["cause"]}


def test_a_crashed_run_that_dagster_tries_again_tells_nobody(tmp_path: Path):
    retries = {"telemetry": {"enabled": False}, "run_retries": {"enabled": True, "max_retries": 1}}
    before, place = (
        len(alerts(HOME)),
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("flywheel"), "__repository__"),
    )
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=retries) as on:
        crashed(on, RemoteJobOrigin(place, "learn"))
        assert len(alerts(HOME)) == before and failures_of(on, "door", WEEK) == {}
        crashed(on)
        assert len(alerts(HOME)) == before + 1, "one that came from no code location cannot be tried again"


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


def ticked(sensor: dg.SensorDefinition, house: House, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=dg.DagsterInstance.ephemeral(), cursor=cursor)
    result = sensor(context, house=house)
    assert isinstance(result, dg.SensorResult)
    return result


def said(result: dg.SensorResult) -> str:
    return str(result.skip_reason.skip_message if result.skip_reason else "")


@pytest.fixture
def damaged(house: House, tmp_path: Path) -> Path:
    """A house of two workflows, both collected long ago; the first one's lineage is cut. What it was lies beside it."""
    shutil.copytree(tmp_path / "workflows" / "door", tmp_path / "workflows" / "gate")
    lake = Lake(tmp_path / "lake")
    for workflow in ("door", "gate"):
        lake.replace_partition("production_traces", [trace(1)], workflow=workflow, week="2026-01-05")
    (file,) = (tmp_path / "lake" / "lineage").rglob("workflow=door/**/*.parquet")
    whole = tmp_path / "whole"
    shutil.copy(file, whole)
    file.write_bytes(whole.read_bytes()[:200])
    return file


@pytest.mark.parametrize(
    "sensor", [decision_missed, incumbent_grown_stale, unevaluated_configuration_served, late_traces_arrived]
)
def test_a_damaged_table_of_one_workflow_is_told_once_until_it_is_mended(
    house: House, tmp_path: Path, damaged: Path, sensor: dg.SensorDefinition
):
    cursor = None
    for _ in range(2):
        result = ticked(sensor, house, cursor)
        cursor = result.cursor
        assert "door: table lineage cannot be read" in said(result)
    (told,) = alerts(tmp_path)
    assert told["urgency"] == "page" and told["cause"].startswith("it cannot be watched: table lineage cannot be read")
    assert "run the stage that writes it again" in told["remedy"] and told["owner"] == "team:tests"
    assert told["serving"].startswith("door: ") and not [
        one for one in alerts(tmp_path, "gate") if one["urgency"] == "page"
    ]
    shutil.copy(tmp_path / "whole", damaged)
    result = ticked(sensor, house, cursor)
    assert "door: table" not in said(result)
    damaged.write_bytes(b"")
    ticked(sensor, house, result.cursor)
    assert [one["urgency"] for one in alerts(tmp_path)].count("page") == 2, "damaged anew"


def test_a_damaged_table_of_one_workflow_keeps_nothing_from_the_others(
    house: House, tmp_path: Path, damaged: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLYWHEEL_ALERT_WEBHOOK", "http://127.0.0.1:1/nobody-listens")
    cursor = None
    for _ in range(2):
        cursor = ticked(decision_missed, house, cursor).cursor
    first, again = alerts(tmp_path, "gate")
    assert "week" in first["cause"] and first["cause"] == again["cause"], "told once, and its outbox was tried again"
    assert (cursor or "").count("gate@") == 1
    ledger = {name: None for name in TABLES["inbox_ledger"].polars_schema() if name != "workflow"}
    ledger |= {"source_file": "f", "first_read_week": "2026-05-11", "weeks": json.dumps({"2026-05-11": 1, WEEK: 1})}
    lake = Lake(tmp_path / "lake")
    lake.replace_partition("production_traces", [trace(1)], workflow="gate", week="2026-05-11")
    lake.replace_partition("inbox_ledger", [ledger], workflow="gate")
    requests = ticked(late_traces_arrived, house).run_requests or []
    assert partition_key(WEEK, "gate") in [request.partition_key for request in requests]


def test_a_trouble_without_damage_waits_for_the_morning_and_one_whose_pack_is_broken_too_is_in_the_tick(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def away(*_: object) -> None:
        raise FlywheelError("the lake's bucket does not answer", where="s3://lake", remedy="look at its settings")

    monkeypatch.setattr("flywheel.defs.watch.late_weeks", away)
    Lake(tmp_path / "lake").replace_partition("production_traces", [trace(1)], workflow="door", week=WEEK)
    ticked(late_traces_arrived, house)
    (told,) = alerts(tmp_path)
    assert (told["urgency"], told["remedy"]) == ("morning", "look at its settings")
    assert told["cause"] == "it cannot be watched: the lake's bucket does not answer [s3://lake]"
    (tmp_path / "workflows" / "door" / "workflow.yaml").write_text("owner: [broken")
    assert "nobody can be told" in said(ticked(late_traces_arrived, house)) and len(alerts(tmp_path)) == 1
