"""What is watched beside the runs: failed runs, late traces, weeks without a decision, an adapter that has served too long.

What goes here: when to look and whom to tell. What is told, and how it is sent, lies in `operations/alerts.py` and `watching.py`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from flywheel.defs.automation import collect
from flywheel.defs.resources import House
from flywheel.defs.retries import is_damage
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.alerts import Alert, raise_alert, send_what_waits
from flywheel.operations.failures import failed_steps
from flywheel.operations.late import late_weeks
from flywheel.operations.watching import (
    Concern,
    missing_decision,
    serving_line,
    stale_incumbent,
    unevaluated_configuration,
)
from flywheel.partitions import partition_key
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.loader import installed_workflows
from flywheel.workflows.pack import Pack

_RUNNING = dg.DefaultSensorStatus.RUNNING
_REREAD = [dg.AssetKey("production_traces"), dg.AssetKey("production_failures")]


@dg.run_failure_sensor(default_status=_RUNNING, minimum_interval_seconds=60)
def run_failed(context: dg.RunFailureSensorContext, house: House) -> None:
    """Tells the workflow's people of a failed run: owner, stage, cause, remedy and a link; line one says what serves meanwhile.

    Of a run that crashed without a failed step, too, unless Dagster will try it again: then its last try is told.
    """
    run = context.dagster_run
    workflow = run.tags.get("dagster/partition/workflow") or run.tags.get("dagster/partition", "")
    try:
        pack = house.pack(workflow)
    except FlywheelError as error:
        context.log.error(f"run {run.run_id} failed, and nobody can be told: {error}")
        return
    settings = house.settings()
    link = f"{settings.ui_url}/runs/{run.run_id}"
    for told in failed_steps(context.instance, run.run_id):
        alert = Alert(
            workflow=workflow, owner=pack.settings.owner, stage=told.stage, week=run.tags.get("dagster/partition/week", "-"),
            # A failed week moves nothing: what serves goes on serving.
            serving=_serving(house.lake(), pack), cause=told.cause,
            remedy=told.remedy or "a defect: read the run's log, then rematerialize the stage", link=link,
            urgency="page" if told.damage else "morning", raised_at=datetime.now(UTC),
        )  # fmt: skip
        context.log.info(f"{told.stage}: {raise_alert(settings, pack, alert) or 'no channel is set up'}")


def _serving(lake: Lake, pack: Pack) -> str:
    """Line one; a lake that cannot be read must not keep its own alert from being sent."""
    try:
        return serving_line(lake, pack.name, first=pack.first_incumbent)
    except Exception as error:
        return f"{pack.name}: what production serves cannot be read from the lake ({type(error).__name__}); the pointer file says it"


@dg.sensor(job=collect, minimum_interval_seconds=900, default_status=_RUNNING)
def late_traces_arrived(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult:
    """Reads earlier weeks again whose runs came with the newest week's files, then offers their failures to its batch."""
    lake, settings, told = house.lake(), house.settings(), _told(context)
    requests: list[dg.RunRequest] = []
    troubles: list[str] = []
    for workflow in installed_workflows(settings.workflows()):
        try:
            requests += _late_requests(lake, workflow, settings.first_week)
        except FlywheelError as error:
            troubles.append(_tell_trouble(house, workflow, error, told))
        else:
            _forget_trouble(workflow, told)
    for trouble in troubles:
        context.log.error(trouble)
    skipped = None if requests else dg.SkipReason("; ".join(troubles) or "no late traces")
    return dg.SensorResult(run_requests=requests, skip_reason=skipped, cursor=",".join(sorted(told)))


def _late_requests(lake: Lake, workflow: str, first_week: str) -> list[dg.RunRequest]:
    written = lake.all_lineage(
        workflow=workflow, tables=["production_traces", "production_failures", "correction_batch"]
    )
    weeks = written.filter(table_name="production_traces")["week"]
    if not weeks.len():
        return []
    newest = str(weeks.max())
    versions = {(row["table_name"], row["week"]): row for row in written.iter_rows(named=True)}
    late = late_weeks(lake, workflow, newest, first_week)
    if late:
        read = versions["production_traces", newest]["version"]
        return [
            dg.RunRequest(partition_key=partition_key(week, workflow), asset_selection=_REREAD, run_key=f"late|{week}|{workflow}|{newest}|{read}")
            for week in late
        ]  # fmt: skip
    batch = versions.get(("correction_batch", newest))
    read_since = [row["version"] for (table, week), row in versions.items()
                  if batch and table == "production_failures" and week < newest and row["written_at"] > batch["written_at"]]  # fmt: skip
    if not read_since:
        return []
    key = partition_key(newest, workflow)
    return [dg.RunRequest(partition_key=key, asset_selection=[dg.AssetKey("correction_batch")], run_key=f"late-batch|{newest}|{workflow}|{max(read_since)}")]  # fmt: skip


@dg.sensor(
    minimum_interval_seconds=3_600, default_status=_RUNNING, asset_selection=dg.AssetSelection.assets("promotion")
)
def decision_missed(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Tells once of each week x workflow that ended long ago without a decision; tries again what the channels did not take."""
    return _watch(context, house, "promotion", missing_decision)


@dg.sensor(
    minimum_interval_seconds=86_400, default_status=_RUNNING, asset_selection=dg.AssetSelection.assets("promotion")
)
def incumbent_grown_stale(context: dg.SensorEvaluationContext, house: House) -> dg.SensorResult | dg.SkipReason:
    """Tells once when what serves has not changed for as many weeks as the pack allows."""
    return _watch(context, house, "served_model", stale_incumbent)


@dg.sensor(
    minimum_interval_seconds=3_600,
    default_status=_RUNNING,
    asset_selection=dg.AssetSelection.assets("production_traces"),
)
def unevaluated_configuration_served(
    context: dg.SensorEvaluationContext, house: House
) -> dg.SensorResult | dg.SkipReason:
    """Tells once of each week x workflow whose runs carry a configuration that nobody evaluated."""
    return _watch(context, house, "production_traces", unevaluated_configuration)


def _watch(
    context: dg.SensorEvaluationContext, house: House, stage: str, look: Callable[[Lake, Pack, datetime], Concern | None]
) -> dg.SensorResult | dg.SkipReason:  # fmt: skip
    """Raise what `look` finds and has not been told before; the cursor holds what was told."""
    lake, settings, now = house.lake(), house.settings(), datetime.now(UTC)
    told, said = _told(context), []
    for workflow in installed_workflows(settings.workflows()):
        try:
            pack = house.pack(workflow)
        except FlywheelError as error:
            said.append(f"{workflow}: {error.what}")
            continue
        if waiting := send_what_waits(settings, pack, now):
            said.append(f"{workflow}: {waiting} alerts wait for a channel")
        try:
            concern = look(lake, pack, now)
        except FlywheelError as error:
            said.append(_tell_trouble(house, workflow, error, told))
            continue
        _forget_trouble(workflow, told)
        if concern is None:
            continue
        said.append(f"{workflow}: {concern.what}")
        if (key := f"{workflow}@{concern.week}") in told:
            continue
        alert = Alert(
            workflow=workflow, owner=pack.settings.owner, stage="", week=concern.week, serving=_serving(lake, pack),
            cause=concern.what, remedy=concern.remedy, link=f"{settings.ui_url}/assets/{stage}", raised_at=now,
        )  # fmt: skip
        raise_alert(settings, pack, alert)
        told.add(key)
    return dg.SensorResult(
        cursor=",".join(sorted(told)), skip_reason=dg.SkipReason("; ".join(said) or "nothing to tell")
    )


def _told(context: dg.SensorEvaluationContext) -> set[str]:
    return set(filter(None, (context.cursor or "").split(",")))


def _tell_trouble(house: House, workflow: str, error: FlywheelError, told: set[str]) -> str:
    """Tell of what keeps a workflow from being watched, once until it can be watched again; the tick's own line of it."""
    line = f"{workflow}: {error.what}"
    # Not by its words: those of a bucket that does not answer hold seconds, and would be new each tick.
    if (key := f"{workflow}!{sha256_of([type(error).__name__, error.where])[:16]}") in told:
        return line
    try:
        pack = house.pack(workflow)
    except FlywheelError as broken:
        return f"{line}; nobody can be told: {broken.what}"
    settings, place = house.settings(), f" [{error.where}]" if error.where else ""
    alert = Alert(
        workflow=workflow, owner=pack.settings.owner, stage="", week="-", serving=_serving(house.lake(), pack),
        cause=f"it cannot be watched: {error.what}{place}", remedy=error.remedy, link=f"{settings.ui_url}/automation",
        urgency="page" if is_damage(error) else "morning", raised_at=datetime.now(UTC),
    )  # fmt: skip
    raise_alert(settings, pack, alert)
    told.add(key)
    return line


def _forget_trouble(workflow: str, told: set[str]) -> None:
    told -= {key for key in told if key.startswith(f"{workflow}!")}


@dg.definitions
def watch() -> dg.Definitions:
    """Sensors that tell people."""
    return dg.Definitions(
        sensors=[
            run_failed,
            late_traces_arrived,
            decision_missed,
            incumbent_grown_stale,
            unevaluated_configuration_served,
        ]
    )
