"""What starts the week: the jobs `collect` and `learn`, the weekly schedule, and the sensor that waits for people."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from flywheel.corrections.closing import close_due_batches
from flywheel.corrections.events import EventStore
from flywheel.corrections.stores import every_store
from flywheel.defs.resources import House
from flywheel.errors import FlywheelError
from flywheel.evaluation.review_store import read_review, undecided_review, waits
from flywheel.jobs import JOBS
from flywheel.lake import Lake
from flywheel.partitions import partition_key, week_before, week_by_workflow, week_of, workflows
from flywheel.settings import Settings
from flywheel.workflows.loader import installed_workflows
from flywheel.workflows.pack import Pack

_SENSOR_SECONDS = Settings().sensor_seconds

collect = dg.define_asset_job(
    "collect",
    selection=dg.AssetSelection.assets(*JOBS["collect"], "weekly_report"),
    partitions_def=week_by_workflow,
    executor_def=dg.in_process_executor,
    description="Traces in, failures out, a batch for the experts. Runs on the weekly schedule.",
)


def pod_tags(settings: Settings) -> dict[str, Any]:
    """What Dagster's launcher on Kubernetes gives the pod of `learn`; every other launcher passes it over."""
    return {"dagster-k8s/config": settings.learn_pod} if settings.learn_pod else {}


learn = dg.define_asset_job(
    "learn",
    selection=dg.AssetSelection.assets(*JOBS["learn"]),
    partitions_def=week_by_workflow,
    tags=pod_tags(Settings()),
    executor_def=dg.in_process_executor,
    description="Corrections in, datasets, checkpoint, evaluation, decision. Requested when a correction batch is complete.",
)
freeze = dg.define_asset_job(
    "freeze",
    selection=dg.AssetSelection.assets(*JOBS["freeze"]),
    executor_def=dg.in_process_executor,
    description="Freeze the pack's benchmark and read its demonstrations. Run when either changes.",
)


@dg.schedule(job=collect, cron_schedule="0 6 * * 2", execution_timezone=Settings().time_zone)
def collect_every_week(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Requests `collect` on Tuesday 06:00 for the week that ended on Monday 00:00, once a workflow (design.md 8.17).

    Of the workflows whose packs lie in the house: the shipped one is a partition everywhere, and would only fail. A pack that came after
    the code location was loaded is named in the log until it is loaded again.
    """
    week = week_before(week_of(context.scheduled_execution_time))
    if week < (first := Settings().first_week):
        return dg.SkipReason(f"week {week} lies before the first one, {first} (FLYWHEEL_FIRST_WEEK)")
    installed, loaded = installed_workflows(folder := Settings().workflows()), workflows.get_partition_keys()
    if late := sorted({*installed} - {*loaded}):
        context.log.warning(
            f"no week of {', '.join(late)} was requested: reload the code location, it does not know them yet"
        )
    if not (known := [name for name in installed if name in loaded]):
        return dg.SkipReason(f"no workflow pack lies in {folder}: flywheel init NAME makes one")
    keys = [partition_key(week, name) for name in known]
    return [dg.RunRequest(partition_key=key, run_key=key) for key in keys]


@dg.sensor(job=learn, minimum_interval_seconds=_SENSOR_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def correction_batch_completed(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Closes batches that are complete or past their deadline, and requests `learn` once for every closed version and attempt.

    Until then it says how far the experts are.
    """
    settings = house.settings()
    lake = house.lake()
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    for store in every_store(settings):
        far = _close_due(store, house)
        for batch in store.batches():
            name = f"{batch.workflow}, week {batch.week}"
            try:
                learned = lake.has_partition("promotion", workflow=batch.workflow, week=batch.week)
            except FlywheelError as error:  # a damaged table of one workflow keeps no other's batches waiting
                waiting.append(f"{name}: {error.what}")
                continue
            if batch.attempt == 1 and learned:
                continue  # learned already, e.g. from the command line
            if batch.closed:
                requests.append(
                    dg.RunRequest(
                        partition_key=partition_key(batch.week, batch.workflow),
                        run_key=f"{batch.week}|{batch.workflow}|{batch.version}|{batch.attempt}",
                    )
                )
            else:
                waiting.append(f"{name}: {far.get(batch.name, f'{len(batch.item_ids)} items are with the experts')}")
    if not requests:
        return dg.SkipReason("; ".join(waiting) or "no correction batch waits to be learned from")
    return dg.SensorResult(run_requests=requests)


def _close_due(store: EventStore, house: House) -> dict[str, str]:
    """Close what is due; what each open batch waits for. A workflow whose pack cannot be read is left alone."""
    far: dict[str, str] = {}
    for workflow in sorted({batch.workflow for batch in store.batches() if not batch.closed}):
        try:
            done = close_due_batches(store, house.pack(workflow), datetime.now(UTC))
        except FlywheelError as error:
            said = f"items are with the experts, and the deadline is unknown: {error.what}"
            for batch in store.batches():
                if batch.workflow == workflow and not batch.closed:
                    far[batch.name] = f"{len(batch.item_ids)} {said}"
            continue
        far |= {progress.batch: progress.waits_for for progress in done.waiting}
    return far


@dg.sensor(job=learn, minimum_interval_seconds=_SENSOR_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def evaluation_review_completed(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Requests `promotion` once the human review that a pack requires is complete; until then it says how far the people are.

    Only of the newest evaluated week of a workflow, once its promotion has run and waits.
    """
    settings, lake = house.settings(), house.lake()
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    for workflow in installed_workflows(settings.workflows()):
        try:
            found = _reviewed(lake, house.pack(workflow))
        except FlywheelError as error:
            waiting.append(f"{workflow}: {error.what}")
            continue
        if isinstance(found, str):
            waiting.append(found)
        elif found is not None:
            requests.append(found)
    if not requests:
        return dg.SkipReason("; ".join(waiting) or "no evaluation waits for people")
    return dg.SensorResult(run_requests=requests)


def _reviewed(lake: Lake, pack: Pack) -> dg.RunRequest | str | None:
    """The request for a workflow's reviewed week, or what its review waits for; None where no week waits for one."""
    week = undecided_review(lake, pack.name) if pack.settings.evaluation.human_review == "required" else None
    if week is None:
        return None
    if reasons := waits(read_review(lake, pack, week), pack, week):
        return f"{pack.name}, week {week}: {reasons[0]}"
    ratings, results = (
        lake.lineage("evaluation_ratings", workflow=pack.name),
        lake.lineage("eval_results", workflow=pack.name, week=week),
    )
    versions = [known.version if known else 0 for known in (ratings, results)]
    return dg.RunRequest(
        partition_key=partition_key(week, pack.name),
        run_key=f"review|{week}|{pack.name}|{versions[0]}|{versions[1]}",
        asset_selection=[dg.AssetKey("promotion"), dg.AssetKey("weekly_report")],
    )


@dg.definitions
def automation() -> dg.Definitions:
    """Jobs, schedule and sensor."""
    return dg.Definitions(
        jobs=[collect, learn, freeze],
        schedules=[collect_every_week],
        sensors=[correction_batch_completed, evaluation_review_completed],
    )
