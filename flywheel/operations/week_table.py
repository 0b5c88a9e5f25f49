"""A week at a glance: every stage with its state, rows, Delta version and age, and what waits for whom."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import dagster as dg
import polars as pl

from flywheel.corrections.closing import deadline
from flywheel.corrections.events import Batch
from flywheel.evaluation.review_store import read_review, undecided_review, waits
from flywheel.lake import Lake
from flywheel.operations.failures import Told, failed_steps
from flywheel.partitions import partition_key
from flywheel.report.facts import STAGES
from flywheel.workflows.pack import Pack


class StageState(NamedTuple):
    """One stage of a week: done, failed or not run; rows, Delta version and hours since of its last write, null before it."""

    stage: str
    state: str
    rows: int | None
    version: int | None
    age_hours: float | None
    note: str


def stage_states(lake: Lake, workflow: str, week: str, now: datetime, failed: dict[str, str]) -> list[StageState]:
    """The week's stages in order. `failed`: stage -> cause, of the newest run (`failures_of`)."""
    written = {
        row["table_name"]: row for row in lake.all_lineage(workflow=workflow).filter(week=week).iter_rows(named=True)
    }
    states = []
    for stage in (*STAGES, "weekly_report"):
        row, cause = written.get(stage), failed.get(stage)
        state = "failed" if cause is not None else "done" if row else "not run"
        age = (now - row["written_at"]).total_seconds() / 3600 if row else None
        note = cause or ""
        states.append(
            StageState(stage, state, row["rows"] if row else None, row["version"] if row else None, age, note)
        )
    return states


def failures_of(instance: dg.DagsterInstance, workflow: str, week: str) -> dict[str, str]:
    """Stage -> cause of the last run of the week's partition that reached it and failed; a later success clears it."""
    filters = dg.RunsFilter(tags={"dagster/partition": str(partition_key(week, workflow))})
    failed: dict[str, Told] = {}
    for run in reversed(instance.get_runs(filters, limit=20)):
        if run.status == dg.DagsterRunStatus.FAILURE:
            # A run that crashed after its last step left nothing to do.
            failed |= {told.step: told for told in failed_steps(instance, run.run_id) if told.step}
        if failed:
            done = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
            for entry in done:
                failed.pop(entry.get_dagster_event().step_key or "", None)
    return {stage: told.cause for told in failed.values() for stage in told.stages}


def waits_for(
    lake: Lake, pack: Pack, week: str, batch: Batch | None, counts: Mapping[str, int], now: datetime
) -> list[str]:
    """Who has to do something before the week goes on, one sentence each; empty when nobody has.

    `counts` is the batch's summary. Nothing is closed here: looking changes nothing.
    """
    said = []
    if batch and not batch.closed:
        due = deadline(batch, pack)
        done = sum(counts.get(name, 0) for name in ("accepted", "dropped", "released"))
        when = f"due {due:%a %Y-%m-%d %H:%M} UTC" if now < due else f"past its deadline of {due:%a %Y-%m-%d %H:%M} UTC"
        said.append(f"experts: {done} of {counts.get('items', 0)} items are done, {when}")
    decided = lake.read_weeks("promotion_log", workflow=pack.name).filter(week=week)
    if pack.settings.evaluation.human_review == "required" and undecided_review(lake, pack.name) == week:
        said += [f"reviewers: {reason}" for reason in waits(read_review(lake, pack, week), pack, week)[:1]]
    if lake.has_partition("promotion", workflow=pack.name, week=week):
        row = lake.read_partition("promotion", workflow=pack.name, week=week).row(0, named=True)
        if row["stopped_at"]:
            said.append(f"{pack.settings.owner}: {json.loads(row['reasons'])[0]}")
        released = decided.filter(pl.col("served_adapter_id") == row["candidate_adapter_id"]).height
        if row["verdict"] == "PROMOTE" and not released and pack.settings.release == "approval":
            said.append(f"{pack.settings.owner}: the candidate is promoted and not released: flywheel promote --workflow {pack.name} --week {week} --by NAME")  # fmt: skip
    return said


def table_lines(states: list[dict[str, Any]]) -> list[str]:
    """The states as lines of a terminal."""
    lines = [f"  {'stage':<20}{'state':<9}{'rows':>8}{'version':>9}{'age':>9}"]
    for one in states:
        rows, version = ("" if one[name] is None else f"{one[name]:,}" for name in ("rows", "version"))
        lines.append(f"  {one['stage']:<20}{one['state']:<9}{rows:>8}{version:>9}{_age(one['age_hours']):>9}")
        if one["note"]:
            lines.append(f"      {one['note'].splitlines()[0][:150]}")
    return lines


def _age(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"
