"""What starts the week: the schedule's tick, and the sensor that asks once per closed batch."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from flywheel.corrections.events import Event, EventStore
from flywheel.defs.automation import collect_every_week, correction_batch_completed
from flywheel.defs.resources import House
from flywheel_tests.corrections.stores import accept


def test_collect_runs_on_tuesday_at_six_for_the_week_that_ended():
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 2, 10, 6, tzinfo=UTC))
    ticks = collect_every_week.evaluate_tick(context).run_requests or []
    assert {dict(tick.tags)["dagster/partition/week"] for tick in ticks} == {"2026-02-02"}
    assert collect_every_week.cron_schedule == "0 6 * * 2"


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
