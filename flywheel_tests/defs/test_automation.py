"""What starts the week: the schedule's tick, and the sensor that asks once per closed batch."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.corrections.events import Event, EventStore
from flywheel.definitions import defs
from flywheel.defs.automation import collect_every_week, correction_batch_completed
from flywheel.defs.resources import House
from flywheel.lake import Lake
from flywheel.lake.trouble import DamagedTable
from flywheel_tests.corrections.stores import accept


def scheduled(moment: datetime) -> Any:
    repository = defs.get_repository_def()
    return collect_every_week.evaluate_tick(
        dg.build_schedule_context(scheduled_execution_time=moment, repository_def=repository)
    )


def test_collect_runs_on_tuesday_at_six_for_the_week_that_ended_of_the_packs_that_lie_here_only():
    ticks = scheduled(datetime(2026, 2, 10, 6, tzinfo=UTC)).run_requests or []
    asked = [
        (dict(tick.tags)["dagster/partition/week"], dict(tick.tags)["dagster/partition/workflow"]) for tick in ticks
    ]
    assert asked == [("2026-02-02", "door")], "support_desk is a partition everywhere, and no pack of it lies here"
    assert [tick.run_key for tick in ticks] == ["2026-02-02|door"], "a tick that is evaluated twice requests one run"
    assert (collect_every_week.cron_schedule, collect_every_week.execution_timezone) == ("0 6 * * 2", "UTC")


def test_no_run_is_requested_before_the_first_week_nor_without_packs_nor_of_a_pack_the_location_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert "before the first one" in str(scheduled(datetime(2020, 1, 7, 6, tzinfo=UTC)).skip_message)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    assert "flywheel init" in str(scheduled(datetime(2026, 2, 10, 6, tzinfo=UTC)).skip_message)
    for name in ("door", "newcomer"):
        (tmp_path / "workflows" / name).mkdir(parents=True)
        (tmp_path / "workflows" / name / "workflow.yaml").write_text("{}")
    asked = scheduled(datetime(2026, 2, 10, 6, tzinfo=UTC)).run_requests or []
    assert [tick.run_key for tick in asked] == ["2026-02-02|door"]


def test_the_sensor_says_how_far_the_experts_are_and_requests_each_closed_batch_once(tmp_path: Path):
    house = House(home=str(tmp_path))
    instance = dg.DagsterInstance.ephemeral()

    def tick():
        return correction_batch_completed(dg.build_sensor_context(instance=instance), house=house)

    assert "no correction batch waits" in tick().skip_message
    store = EventStore(tmp_path / "qa" / "door.sqlite")
    batch = store.open_batch(week="2026-02-02", workflow="door", version="v1", item_ids=["i"], qa_mode="three")
    assert "1 items are with the experts" in tick().skip_message
    store.close_batch(batch)
    (request,) = tick().run_requests
    assert request.run_key == "2026-02-02|door|v1|1"
    assert request.partition_key == dg.MultiPartitionKey({"week": "2026-02-02", "workflow": "door"})
    assert tick().run_requests[0].run_key == request.run_key, "Dagster drops a run key it has seen"
    store.close_batch(batch, attempt=2)
    assert tick().run_requests[0].run_key == "2026-02-02|door|v1|2"
    assert os.environ["FLYWHEEL_HOME"] != str(tmp_path)


def test_a_damaged_table_of_one_workflow_keeps_no_other_from_learning(tmp_path: Path):
    house = House(home=str(tmp_path))
    for name in ("broken", "door"):
        store = EventStore(tmp_path / "qa" / f"{name}.sqlite")
        store.close_batch(
            store.open_batch(week="2026-02-02", workflow=name, version="v1", item_ids=["i"], qa_mode="three")
        )
    lake = house.lake()
    for name in ("broken", "door"):
        lake.replace_partition("promotion", [], workflow=name, week="2026-01-05")
    with dg.DagsterInstance.ephemeral() as instance:

        def asked() -> list[str]:
            context = dg.build_sensor_context(instance=instance)
            return [request.run_key for request in correction_batch_completed(context, house=house).run_requests or []]

        assert asked() == ["2026-02-02|broken|v1|1", "2026-02-02|door|v1|1"]
        honest = Lake.has_partition

        def damaged(self: Lake, table: str, *, workflow: str, week: str | None = None) -> bool:
            if workflow == "broken":
                raise DamagedTable("table promotion cannot be read", where="promotion", remedy="mend it")
            return honest(self, table, workflow=workflow, week=week)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Lake, "has_partition", damaged)
            assert asked() == ["2026-02-02|door|v1|1"]


def test_the_sensor_closes_what_is_due_and_says_what_an_open_batch_waits_for(tmp_path: Path):
    shutil.copytree(Path(os.environ["FLYWHEEL_HOME"]) / "workflows" / "door", tmp_path / "workflows" / "door")
    store = EventStore(tmp_path / "qa" / "door.sqlite")
    batch = store.open_batch(week="2026-02-02", workflow="door", version="v1", item_ids=["i"], qa_mode="three")

    def tick():
        context = dg.build_sensor_context(instance=dg.DagsterInstance.ephemeral())
        return correction_batch_completed(context, house=House(home=str(tmp_path)))

    assert "0 of 1 items are done; due" in tick().skip_message
    accept(store, batch, "i")
    assert "1 of 1 drawn items wait for their audit" in tick().skip_message
    store.append(batch, Event("i", "audit", "zoe", {"verdict": "passed"}))
    assert tick().run_requests[0].run_key == "2026-02-02|door|v1|1"
    assert store.batches()[0].closed_because == "complete"
