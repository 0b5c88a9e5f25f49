"""What production serves and how far each week is; the first line is what a person needs at night."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from flywheel.corrections.events import Batch
from flywheel.corrections.released import summary
from flywheel.corrections.stores import open_store
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.week_zero import is_week_zero
from flywheel.operations.week_table import failures_of, stage_states, waits_for
from flywheel.promotion import recurrence
from flywheel.promotion.hooks import sentence
from flywheel.promotion.live import canary_period, carried
from flywheel.promotion.pointer import newest_decided, serving, since, waits
from flywheel.report.facts import STAGES
from flywheel.settings import Settings
from flywheel.workflows.guesses import open_guesses
from flywheel.workflows.loader import find_pack, known_workflows


def status(settings: Settings, on: dg.DagsterInstance | None = None) -> list[dict[str, Any]]:
    """One entry a workflow: what serves since when, the newest week at a glance, what waits for whom, and the next command.

    Args:
        on: the instance that knows which stages failed; without it a failed stage reads as its last write does.
    """
    lake = Lake(settings.lake())
    present = [name for name in known_workflows(settings.workflows()) if (settings.workflows() / name).is_dir()]
    return [_workflow(settings, lake, name, on) for name in present]


def _workflow(settings: Settings, lake: Lake, workflow: str, on: dg.DagsterInstance | None) -> dict[str, Any]:
    log = lake.read_weeks("promotion_log", workflow=workflow)
    move = since(log)
    lineage = lake.all_lineage(workflow=workflow)
    weeks = sorted(week for week in set(lineage["week"]) if week != "-")
    entry: dict[str, Any] = {
        "workflow": workflow,
        "serves": serving(log, first=_first_incumbent(settings, workflow)),
        "since_week": move["week"] or None if move else None,
        "since": move["decided_at"].isoformat() if move else None,
        "released_by": f"{move['kind'] or 'decision'} by {move['by'] or 'flywheel'}" if move else None,
        "live": _live(lake, workflow, log),
        "newest_week": weeks[-1] if weeks else None,
        "stages_done": [],
        "stages": [],
        "waits_for": [],
        "batch": None,
        "unconfirmed_guesses": len(open_guesses(settings.workflows() / workflow)),
    }
    if not weeks:
        return {
            **entry,
            "next": f"lay traces into {settings.inbox(workflow)}, then: flywheel run --workflow {workflow} --week MONDAY",
        }
    week = weeks[-1]
    written = set(lineage.filter(lineage["week"] == week)["table_name"])
    entry["stages_done"] = [stage for stage in STAGES if stage in written]
    store, now = open_store(settings, workflow), datetime.now(UTC)
    failed = failures_of(on, workflow, week) if on else {}
    entry["stages"] = [state._asdict() for state in stage_states(lake, workflow, week, now, failed)]
    batch = store.batch_of(week, workflow)
    counts = summary(store, batch) if batch else {}
    if batch:
        entry["batch"] = {"version": batch.version, "closed": batch.closed, **counts}
    entry["waits_for"] = _waits(settings, lake, workflow, week, batch, counts, now)
    ready = bool(batch and batch.closed) or is_week_zero(lake, workflow, week)  # week zero waits for no batch
    following = _next(workflow, week, written, ready, failed)
    if not failed and "promotion" in written:
        following = where_it_stopped(lake, workflow, week) or following
    return {**entry, "next": _release(lake, workflow, log) or following}


def _first_incumbent(settings: Settings, workflow: str) -> str | None:
    """The endpoint that serves until a first release; None where there is none, or the pack cannot be read (which is said below)."""
    try:
        return find_pack(settings.workflows(), workflow).first_incumbent
    except FlywheelError:
        return None


def _live(lake: Lake, workflow: str, log: pl.DataFrame) -> dict[str, Any]:
    """What production says of what serves: who answers, whether it got worse, what came back, and hooks that were not told."""
    seen, period, back = (
        carried(lake, workflow, log),
        canary_period(lake, workflow, log),
        recurrence.newest(lake, workflow),
    )
    return {
        "carried": seen._asdict() if seen else None,
        "canary_period": period.sentence(workflow) if period else None,
        "regressions": [row.name for row in period.regressions] if period else [],
        "recurrence": back.sentence() if back else None,
        "came_back": [name for name, *_ in back.came_back] if back else [],
        "hook": _failed_hook(lake, workflow, log),
    }


def _failed_hook(lake: Lake, workflow: str, log: pl.DataFrame) -> str | None:
    """The newest move's last attempt to tell its hook, when that failed."""
    move = since(log)
    tried = lake.read_weeks("release_hooks", workflow=workflow).filter(entry_id=move["entry_id"] if move else "")
    last = tried.sort("attempt").tail(1)
    return None if not last.height or last["succeeded"][0] else sentence(last.row(0, named=True))


def where_it_stopped(lake: Lake, workflow: str, week: str) -> str | None:
    """Where the week's learn stopped because this machine has no trainer or no server, and what to do; None where it did not."""
    if not lake.has_partition("promotion", workflow=workflow, week=week):
        return None
    row = lake.read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
    return json.loads(row["reasons"])[0] if row["stopped_at"] else None


def _release(lake: Lake, workflow: str, log: pl.DataFrame) -> str | None:
    """The command that releases the newest decision, when it waits for a person."""
    week = newest_decided(log)
    if not week or not lake.has_partition("promotion", workflow=workflow, week=week):
        return None
    row = lake.read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
    return f"flywheel promote --workflow {workflow} --week {week} --by NAME" if waits(log, week, row) else None


def _waits(
    settings: Settings, lake: Lake, workflow: str, week: str, batch: Batch | None, counts: dict[str, int], now: datetime
) -> list[str]:  # fmt: skip
    """What waits for whom; a pack that cannot be read is said, and the rest of the status still shown."""
    try:
        pack = find_pack(settings.workflows(), workflow)
    except FlywheelError as error:
        return [f"the pack's owner: {error.what} ({error.where})"]
    return waits_for(lake, pack, week, batch, counts, now)


def _next(workflow: str, week: str, written: set[str], ready: bool, failed: dict[str, str]) -> str:
    if failed:
        return f"flywheel run --workflow {workflow} --week {week} --stage {next(iter(failed))}"
    if "promotion" in written:
        return "nothing: the week is decided"
    if ready:
        return f"flywheel run --workflow {workflow} --week {week} --stage learn"
    if "correction_batch" in written:
        return f"the experts: the correction batch is open; they correct in: flywheel workbench --workflow {workflow}"
    return f"flywheel run --workflow {workflow} --week {week} --stage collect"
