"""What starts the week: the jobs `collect` and `learn`, the weekly schedule, and the sensor that waits for people."""

import dagster as dg

from flywheel.corrections.events import EventStore
from flywheel.defs.resources import House
from flywheel.jobs import JOBS
from flywheel.partitions import partition_key, week_by_workflow

collect = dg.define_asset_job(
    "collect",
    selection=dg.AssetSelection.assets(*JOBS["collect"], "weekly_report"),
    partitions_def=week_by_workflow,
    executor_def=dg.in_process_executor,
    description="Traces in, failures out, a batch for the experts. Runs on the weekly schedule.",
)
learn = dg.define_asset_job(
    "learn",
    selection=dg.AssetSelection.assets(*JOBS["learn"]),
    partitions_def=week_by_workflow,
    executor_def=dg.in_process_executor,
    description="Corrections in, datasets, checkpoint, evaluation, decision. Requested when a correction batch is complete.",
)
freeze = dg.define_asset_job(
    "freeze",
    selection=dg.AssetSelection.assets(*JOBS["freeze"]),
    executor_def=dg.in_process_executor,
    description="Freeze the pack's benchmark and read its demonstrations. Run when either changes.",
)

# Tuesday 06:00, for the week that ended on Monday 00:00 (design.md 8.17).
collect_every_week = dg.build_schedule_from_partitioned_job(
    collect, name="collect_every_week", day_of_week=2, hour_of_day=6, minute_of_hour=0
)


@dg.sensor(job=learn, minimum_interval_seconds=300, default_status=dg.DefaultSensorStatus.RUNNING)
def correction_batch_completed(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Requests `learn` once for every closed batch version and attempt; until then says how far the experts are."""
    settings = house.settings()
    lake = house.lake()
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    for file in sorted(settings.qa_store("x").parent.glob("*.sqlite")):
        for batch in EventStore(file).batches():
            name = f"{batch.workflow}, week {batch.week}"
            if batch.attempt == 1 and lake.has_partition("promotion", workflow=batch.workflow, week=batch.week):
                continue  # learned already, e.g. from the command line
            if batch.closed:
                requests.append(
                    dg.RunRequest(
                        partition_key=partition_key(batch.week, batch.workflow),
                        run_key=f"{batch.week}|{batch.workflow}|{batch.version}|{batch.attempt}",
                    )
                )
            else:
                waiting.append(f"{name}: {len(batch.item_ids)} items are with the experts")
    if not requests:
        return dg.SkipReason("; ".join(waiting) or "no correction batch waits to be learned from")
    return dg.SensorResult(run_requests=requests)


@dg.definitions
def automation() -> dg.Definitions:
    """Jobs, schedule and sensor."""
    return dg.Definitions(
        jobs=[collect, learn, freeze], schedules=[collect_every_week], sensors=[correction_batch_completed]
    )
