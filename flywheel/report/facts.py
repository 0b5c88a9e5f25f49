"""What the weekly page says, as plain values: read from the lake, computed here, drawn elsewhere."""

import json
from collections import Counter
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.report.costs import CostLine, cost_lines, week_costs
from flywheel.report.curve import ALL, BASE, curves_by_category, success_interval
from flywheel.report.diffs import CaseDiff, case_diffs
from flywheel.report.next_asks import asks_of
from flywheel.report.prequential import Week as PrequentialWeek
from flywheel.report.prequential import prequential
from flywheel.report.references import REFERENCE_COLUMNS
from flywheel.report.trends import Trends, trends
from flywheel.report.value_section import NextHours, next_hours
from flywheel.report.verdict import PlainVerdict, plain_verdict

STAGES = (
    "production_traces", "production_failures", "correction_batch", "corrected_traces", "prequential_results", "sft_dataset",
    "preference_dataset", "checkpoint", "eval_results", "promotion",
)  # fmt: skip
REVIEW = ("evaluation_review", "evaluation_disagreements")
HISTORY_WEEKS = 26
# table -> the tables whose rows it was made from, for the rows-in column
_MADE_FROM = {
    "production_traces": ("inbox",), "production_failures": ("production_traces",), "correction_batch": ("production_failures",),
    "corrected_traces": ("correction_batch",), "prequential_results": ("corrected_traces",), "sft_dataset": ("corrected_traces", "demonstrations"),
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
    """One week's runs, those with a failure and with one of the agent's; `marks` name what judged otherwise than before."""

    week: str
    runs: int
    failures: int
    agent_failures: int
    marks: list[str]


class WeekFacts(NamedTuple):
    """Everything the page shows; tables that were never written are empty frames.

    `history` ends with this week; `so_far` holds all weeks up to it of the tables that need them, `curves` the learning
    curve up to it, over all and by category, `trends` the other plots; `diffs` are the week's cases under both arms; `next_hours`
    what corrections of each cluster are worth; `costs` what the week and all so far took; `prequential` each adapter on the week after its own.
    """

    workflow: str
    week: str
    stages: list[StageLine]
    tables: dict[str, pl.DataFrame]
    simulated: bool
    history: list[FailureRate]
    so_far: dict[str, pl.DataFrame]
    curves: dict[str, pl.DataFrame]
    trends: Trends
    diffs: list[CaseDiff]
    verdict: PlainVerdict
    next_hours: NextHours
    prequential: list[PrequentialWeek]
    costs: list[CostLine]

    @property
    def decision(self) -> dict[str, Any] | None:
        """The week's promotion row, or None before learn."""
        rows = self.tables["promotion"]
        return rows.row(0, named=True) if rows.height else None


def week_facts(lake: Lake, workflow: str, week: str) -> WeekFacts:
    """Read one week of one workflow."""
    tables = {}
    for table in (
        *STAGES,
        "quarantined_records",
        "failure_clusters",
        "correction_quality",
        "correction_effort",
        "next_asks",
        *REVIEW,
    ):
        known = lake.has_partition(table, workflow=workflow, week=week)
        tables[table] = lake.read_partition(table, workflow=workflow, week=week) if known else lake.empty(table)
    tables["reference_results"] = lake.read_columns("reference_results", REFERENCE_COLUMNS, workflow=workflow)
    traces = tables["production_traces"]
    simulated = bool(traces.height) and (traces["environment"] == "simulated").fill_null(False).all()
    lines = [_line(lake, table, workflow, week) for table in STAGES]
    so_far = {
        name: lake.read_weeks(name, workflow=workflow, until=week)
        for name in ("failure_clusters", "correction_quality")
    }
    curves = curves_by_category(lake, workflow, week)
    cases = lake.read_columns("benchmark", ("case_id", "case"), workflow=workflow)
    decision = tables["promotion"].row(0, named=True) if tables["promotion"].height else None
    log = lake.read_weeks("promotion_log", workflow=workflow)
    verdict = plain_verdict(decision, log, week, serves(curves), asks_of(tables["next_asks"]))
    over_weeks = trends(lake, workflow, week)
    return WeekFacts(
        workflow, week, lines, tables, simulated, failure_history(lake, workflow, over_weeks), so_far, curves, over_weeks,
        case_diffs(tables["eval_results"], cases), verdict, next_hours(lake, workflow, over_weeks),
        prequential(lake, workflow, week), cost_lines(week_costs(lake, workflow, over_weeks.weeks), so_far["failure_clusters"]),
    )  # fmt: skip


def serves(curves: dict[str, pl.DataFrame]) -> str:
    """What serves after the newest week of the curves; the base model before there is any."""
    curve = curves.get(ALL)
    return str(curve["adapter_id"][-1]) if curve is not None and curve.height else BASE


def failure_history(lake: Lake, workflow: str, found: Trends) -> list[FailureRate]:
    """Failure rates of the last `HISTORY_WEEKS` weeks; a week without traces has no runs."""
    failures = lake.read_columns("production_failures", ("week", "fault"), workflow=workflow)
    every, agent = Counter(failures["week"]), Counter(failures.filter(fault="agent")["week"])
    weeks = found.weeks[-HISTORY_WEEKS:]
    return [FailureRate(one, found.runs.get(one, 0), every[one], agent[one], found.marks[one]) for one in weeks]


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
    """Per category and over all: n cases and (estimate, low, high) of each arm, intervals clustered by case cluster.

    Arms are incumbent, candidate and, where it is an arm of its own, base.
    """
    rows, arms = [], ("incumbent", "candidate", *({BASE} & set(results["arm"])))
    for name in [*sorted(set(results["category"])), "all"]:
        part = results if name == "all" else results.filter(category=name)
        row: dict[str, Any] = {"category": name}
        for arm in arms:
            scored = part.filter(pl.col("arm") == arm, pl.col("success").is_not_null())
            interval = success_interval(scored)
            row[arm] = interval[:3]
            if arm == "candidate":
                row["n"] = interval.n
        rows.append(row)
    return rows
