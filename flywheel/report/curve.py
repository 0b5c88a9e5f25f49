"""The learning curve: what serves after each week, and how it does on the benchmark's core.

The weekly page, `flywheel report --weeks` and whoever ends a run of many weeks read the same frame here.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.report.conditions import BENCHMARK, breaks, conditions, core, marks, measured, weeks_of
from flywheel.statistics.paired import Interval, clustered_rate

BASE, ALL = "base", "all"
CURVE = {
    "week": pl.String, "adapter_id": pl.String, "verdict": pl.String, "n": pl.Int64, "success": pl.Float64, "low": pl.Float64,
    "high": pl.Float64, "measured_in": pl.String, "candidate_adapter_id": pl.String, "candidate_n": pl.Int64,
    "candidate_success": pl.Float64, "candidate_low": pl.Float64, "candidate_high": pl.Float64, "marks": pl.List(pl.String),
}  # fmt: skip


class Point(NamedTuple):
    """One week: what serves after it, what was judged in it, and the week whose evaluation measured what serves."""

    week: str
    adapter_id: str
    verdict: str | None
    candidate_adapter_id: str | None
    measured_in: str | None
    marks: list[str]


def learning_curve(lake: Lake, workflow: str, until: str | None = None) -> pl.DataFrame:
    """The model that serves after each week, on the core of the benchmark; one row a week up to `until`, no week missing.

    Columns: week; adapter_id that serves after it; verdict, null where nothing was decided; n cases, success (0 to 1) and
    low, high of its 95 % interval, clustered by case cluster, of the adapter that serves; measured_in, the week whose
    evaluation that is; candidate_adapter_id with candidate_n, candidate_success, candidate_low, candidate_high; marks, the
    list of what changed since the last measured week (no line may cross them, see `conditions.breaks`).

    Success is null in a week that measured nothing. The row before the first evaluation holds what served until then: the
    first incumbent, measured a week later. An adapter that neither arm was (after a rollback) has its newest figures
    on the same benchmark, if there are any.
    """
    return curves_by_category(lake, workflow, until).get(ALL, pl.DataFrame(schema=CURVE))


def curves_by_category(lake: Lake, workflow: str, until: str | None = None) -> dict[str, pl.DataFrame]:
    """The same frame for each category of the core and, under `all`, for the whole of it; empty before the first week."""
    results = measured(lake, workflow, until)
    points = _points(lake, workflow, until, results)
    rows = core(results).filter(pl.col("arm").is_in(["candidate", "incumbent"]) & pl.col("success").is_not_null())
    categories = [ALL, *rows["category"].unique().sort()] if points else []
    return {name: _curve(points, rows if name == ALL else rows.filter(category=name)) for name in categories}


def success_interval(rows: pl.DataFrame) -> Interval:
    """Success of one arm with its 95 % interval clustered by case cluster; n counts cases, however often each was run.

    The rows have a score each; NaN without rows.
    """
    found = clustered_rate(rows["success"].to_list(), rows["case_cluster"].to_list())
    return found._replace(n=rows["case_id"].n_unique())


def served_after(log: pl.DataFrame, decisions: pl.DataFrame, weeks: Sequence[str]) -> dict[str, str]:
    """Week -> adapter that serves after it: the promotion log's last word, carried on through weeks that say nothing.

    Args:
        log: PROMOTION_LOG rows; a release or a rollback after the decision is an entry of its own.
        decisions: PROMOTION rows; they speak for weeks without an entry.
    """
    said = dict(decisions.select("week", "served_adapter_id").iter_rows())
    said |= dict(log.sort("week", "decided_at").select("week", "served_adapter_id").iter_rows())
    found, current = {}, BASE
    for week in weeks:
        current = said.get(week, current)
        found[week] = current
    return found


def _points(lake: Lake, workflow: str, until: str | None, results: pl.DataFrame) -> list[Point]:
    weeks = weeks_of(lake, workflow, until)
    log = lake.read_weeks("promotion_log", workflow=workflow)
    decisions = lake.read_columns(
        "promotion", ("week", "verdict", "served_adapter_id", "candidate_adapter_id", "stopped_at"), workflow=workflow
    ).filter(pl.col("stopped_at").is_null())
    verdicts = dict(decisions.select("week", "verdict").iter_rows())
    changed = marks(conditions(lake, workflow, weeks, results), BENCHMARK)
    arms = _arms(results)
    first = min((week for week, _ in arms), default=None)
    points = []
    if first is not None and first == weeks[0]:
        weeks = [_before(first), *weeks]
    for week, adapter in served_after(log, decisions, weeks).items():
        start = first is not None and week == _before(first)
        judged = arms.get((week, "candidate"))
        if start:
            adapter = arms.get((first or "", "incumbent"), adapter)
        where = first if start else _measured_in(arms, week, adapter, changed) if week in verdicts else None
        points.append(Point(week, adapter, verdicts.get(week), judged, where, changed.get(week, [])))
    return points


def _arms(results: pl.DataFrame) -> dict[tuple[str, str], str]:
    """(week, arm) -> adapter."""
    known = results.filter(pl.col("arm").is_in(["candidate", "incumbent"])).unique(["week", "arm"], keep="first")
    return {(week, arm): adapter for week, arm, adapter in known.select("week", "arm", "adapter_id").iter_rows()}


def _measured_in(
    arms: Mapping[tuple[str, str], str], week: str, adapter: str, changed: Mapping[str, list[str]]
) -> str | None:
    """The newest week up to this one that ran the adapter, unless a mark lies between; None for a week without evaluation."""
    if (week, "candidate") not in arms:
        return None
    found = max((at for (at, _), name in arms.items() if name == adapter and at <= week), default=None)
    between = [labels for at, labels in changed.items() if found is not None and found < at <= week]
    return None if any(breaks(labels) for labels in between) else found


def _before(week: str) -> str:
    return (date.fromisoformat(week) - timedelta(days=7)).isoformat()


def _curve(points: Sequence[Point], rows: pl.DataFrame) -> pl.DataFrame:
    parts = {
        (str(week), str(adapter)): success_interval(part.filter(arm=part["arm"].sort()[0]))
        for (week, adapter), part in rows.group_by("week", "adapter_id")
    }
    nothing = (None, None, None, None)
    lines = []
    for point in points:
        served = parts.get((point.measured_in or "", point.adapter_id), nothing)
        judged = parts.get((point.week, point.candidate_adapter_id or ""), nothing)
        lines.append(
            {
                **point._asdict(),
                **dict(zip(("success", "low", "high", "n"), served, strict=True)),
                **{f"candidate_{name}": value for name, value in zip(("success", "low", "high", "n"), judged, strict=True)},
            }
        )  # fmt: skip
    return pl.DataFrame(lines, schema=CURVE)
