"""What the weekly page says, as plain values: read from the lake, computed here, drawn elsewhere."""

import json
from collections import Counter
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.statistics.paired import wilson

STAGES = (
    "production_traces", "production_failures", "correction_batch", "corrected_traces", "sft_dataset", "preference_dataset",
    "checkpoint", "eval_results", "promotion",
)  # fmt: skip
HISTORY_WEEKS = 26
# table -> the tables whose rows it was made from, for the rows-in column
_MADE_FROM = {
    "production_traces": ("inbox",), "production_failures": ("production_traces",), "correction_batch": ("production_failures",),
    "corrected_traces": ("correction_batch",), "sft_dataset": ("corrected_traces", "demonstrations"),
    "preference_dataset": ("corrected_traces",), "checkpoint": ("sft_dataset", "preference_dataset"),
    "eval_results": ("benchmark",), "promotion": ("eval_results",),
}  # fmt: skip


class StageLine(NamedTuple):
    """One stage of the week: rows read, rows written (None when it never ran), seconds of its last real run."""

    table: str
    rows_in: int | None
    rows_out: int | None
    seconds: float | None


class FailureRate(NamedTuple):
    """One week's runs, failures, and the agent's own; `detectors` is the version that found them."""

    week: str
    runs: int
    failures: int
    agent_failures: int
    detectors: str


class WeekFacts(NamedTuple):
    """Everything the page shows; tables that were never written are empty frames.

    `history` ends with this week; `so_far` holds all weeks up to it of the tables that need them.
    """

    workflow: str
    week: str
    stages: list[StageLine]
    tables: dict[str, pl.DataFrame]
    simulated: bool
    history: list[FailureRate]
    so_far: dict[str, pl.DataFrame]

    @property
    def decision(self) -> dict[str, Any] | None:
        """The week's promotion row, or None before learn."""
        rows = self.tables["promotion"]
        return rows.row(0, named=True) if rows.height else None


def week_facts(lake: Lake, workflow: str, week: str) -> WeekFacts:
    """Read one week of one workflow."""
    tables = {}
    for table in (*STAGES, "quarantined_records", "failure_clusters", "correction_quality", "correction_effort"):
        known = lake.has_partition(table, workflow=workflow, week=week)
        tables[table] = lake.read_partition(table, workflow=workflow, week=week) if known else lake.empty(table)
    traces = tables["production_traces"]
    simulated = bool(traces.height) and (traces["environment"] == "simulated").all()
    lines = [_line(lake, table, workflow, week) for table in STAGES]
    so_far = {
        name: lake.read_weeks(name, workflow=workflow, until=week)
        for name in ("failure_clusters", "correction_quality")
    }
    return WeekFacts(workflow, week, lines, tables, simulated, failure_history(lake, workflow, week), so_far)


def failure_history(lake: Lake, workflow: str, week: str) -> list[FailureRate]:
    """Failure rates of the weeks up to this one, at most `HISTORY_WEEKS`."""
    written = lake.all_lineage(workflow=workflow).filter(pl.col("week") <= week)
    runs = dict(written.filter(table_name="production_traces").select("week", "rows").rows())
    detectors = dict(written.filter(table_name="production_failures").select("week", "code_version").rows())
    weeks = sorted(set(runs) & set(detectors))[-HISTORY_WEEKS:]
    failures = lake.read_weeks("production_failures", workflow=workflow, until=week)
    found = Counter(failures["week"])
    agent = Counter(failures.filter(fault="agent")["week"])
    return [FailureRate(one, runs[one], found[one], agent[one], detectors[one]) for one in weeks]


def _line(lake: Lake, table: str, workflow: str, week: str) -> StageLine:
    written = lake.lineage(table, workflow=workflow, week=week)
    if written is None:
        return StageLine(table, None, None, None)
    return StageLine(
        table, sum(_rows(lake, source, workflow, week) for source in _MADE_FROM[table]), written.rows, written.seconds
    )


def _rows(lake: Lake, source: str, workflow: str, week: str) -> int:
    if source == "inbox":
        ledger = lake.read_weeks("inbox_ledger", workflow=workflow)
        return sum(json.loads(weeks).get(week, 0) for weeks in ledger["weeks"]) + int(
            ledger.filter(first_read_week=week)["quarantined"].sum()
        )
    by_workflow = source in ("benchmark", "demonstrations")
    lineage = lake.lineage(source, workflow=workflow, week=None if by_workflow else week)
    return lineage.rows if lineage else 0


def success_rows(results: pl.DataFrame) -> list[dict[str, Any]]:
    """Per category and over all: n and (estimate, low, high) of both arms, Wilson intervals."""
    rows = []
    for name in [*sorted(set(results["category"])), "all"]:
        part = results if name == "all" else results.filter(category=name)
        row: dict[str, Any] = {"category": name}
        for arm in ("incumbent", "candidate"):
            scored = part.filter(pl.col("arm") == arm, pl.col("success").is_not_null())
            interval = wilson(int(scored["success"].sum()), scored.height)
            row["n"] = scored.height
            row[arm] = interval[:3]
        rows.append(row)
    return rows
