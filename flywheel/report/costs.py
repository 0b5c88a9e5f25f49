"""What the weeks of a workflow cost: people, accelerator, tokens and storage, joined from what the stages recorded themselves.

Nothing is stored a second time: hours and money of the experts are in `correction_effort` and `correction_quality`, seconds in `lineage`, tokens
in `checkpoint`, `eval_results` and `production_traces`, bytes in the tables' logs. What nobody recorded is None and reads "unknown".
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.lake.judge_tables import ASKED_HERE
from flywheel.lake.retention import partition_sizes
from flywheel.report.corrections import removed_failures
from flywheel.report.text import table
from flywheel.report.trends import weekly_cost

UNKNOWN = "unknown"


class WeekCost(NamedTuple):
    """One week.

    Attributes:
        week: its Monday.
        expert_hours: active hours of all people; None where no time is known.
        accepted: accepted corrections.
        experts, accelerator: cost of the people, and of training and evaluation, at the pack's rates; None without a rate.
        training_hours, evaluation_hours: wall hours of the stages' last real run.
        trained_tokens, computed_tokens: tokens of the rows as often as they were shown, and those computed after sharing.
        evaluated_tokens: prompt and completion tokens of all arms.
        production_tokens, counted_runs, runs: tokens production logged, in how many of how many runs.
        stored_bytes: bytes of the week's partitions in all tables but the report's and lineage.
    """

    week: str
    expert_hours: float | None
    accepted: int
    experts: float | None
    accelerator: float | None
    training_hours: float
    evaluation_hours: float
    trained_tokens: int | None
    computed_tokens: int | None
    evaluated_tokens: int | None
    production_tokens: int | None
    counted_runs: int
    runs: int
    stored_bytes: int

    @property
    def accelerator_hours(self) -> float:
        """Hours of training and evaluation."""
        return self.training_hours + self.evaluation_hours


class CostLine(NamedTuple):
    """One figure: its name, its value this week and over all weeks, and out of what it was counted."""

    figure: str
    this_week: str
    so_far: str
    out_of: str


def week_costs(
    lake: Lake, workflow: str, weeks: Sequence[str], accelerator_hour: float | None = None
) -> list[WeekCost]:
    """The weeks' costs, oldest first.

    Args:
        accelerator_hour: rate for weeks whose corrections did not record one.
    """
    known = {row["week"]: row for row in weekly_cost(lake, workflow, weeks).iter_rows(named=True)}
    quality = lake.read_columns("correction_quality", ("week", "figure", "value"), workflow=workflow)
    rates = dict(quality.filter(figure="accelerator_hour").select("week", "value").iter_rows())
    tokens = {name: _sums(lake, workflow, *columns) for name, columns in _TOKENS.items()}
    traces = lake.read_columns("production_traces", ("week", "input_tokens", "output_tokens"), workflow=workflow)
    both = pl.col("input_tokens").is_not_null() & pl.col("output_tokens").is_not_null()
    counted = {row["week"]: row for row in traces.group_by("week").agg(pl.len().alias("runs"), both.sum().alias("counted")).iter_rows(named=True)}  # fmt: skip
    # What this page itself is written to would change the page.
    sizes = (
        partition_sizes(lake)
        .filter(~pl.col("table").is_in(["weekly_report", "lineage"]), workflow=workflow)
        .group_by("week")
        .agg(pl.col("bytes").sum())
    )
    stored = dict(sizes.select("week", "bytes").iter_rows())
    found = []
    for week in weeks:
        row, runs, rate = known[week], counted.get(week, {}), rates.get(week, accelerator_hour)
        training, evaluation = row["training"] / 3600, row["evaluation"] / 3600
        found.append(WeekCost(
            week, row["expert_hours"], row["corrections"], row["money"], None if rate is None else rate * (training + evaluation),
            training, evaluation, tokens["trained"].get(week), tokens["computed"].get(week), tokens["evaluated"].get(week),
            tokens["production"].get(week), int(runs.get("counted") or 0), int(runs.get("runs") or 0), int(stored.get(week) or 0),
        ))  # fmt: skip
    return found


_TOKENS = {
    "trained": ("checkpoint", "tokens"), "computed": ("checkpoint", "tokens_computed"),
    "evaluated": ("eval_results", "prompt_tokens", "completion_tokens"), "production": ("production_traces", "input_tokens", "output_tokens"),
}  # fmt: skip


def _sums(lake: Lake, workflow: str, name: str, *columns: str) -> dict[str, int]:
    """Week -> sum of the columns over its rows; weeks of which none is known are left out."""
    asked = {"where": ASKED_HERE} if name == "eval_results" else {}
    rows = lake.read_columns(name, ("week", *columns), workflow=workflow, **asked)
    total = pl.sum_horizontal(*(pl.col(column).sum() for column in columns))
    known = pl.any_horizontal(*(pl.col(column).is_not_null().any() for column in columns))
    summed = rows.group_by("week").agg(total.alias("total"), known.alias("known")).filter("known")
    return dict(summed.select("week", "total").iter_rows())


def cost_lines(costs: Sequence[WeekCost], clusters: pl.DataFrame) -> list[CostLine]:
    """The newest of the weeks beside all of them, with ratios; empty without weeks.

    Args:
        clusters: `failure_clusters` of all weeks up to the newest.
    """
    if not costs:
        return []
    last, weeks = costs[-1], len(costs)

    def line(figure: str, value: Callable[[WeekCost], float | None], style: str, out_of: str = "") -> CostLine:
        values = [value(one) for one in costs]
        known = [one for one in values if one is not None]
        told = f"{len(known)} of {weeks} weeks known" + (f"; {out_of}" if out_of else "")
        return CostLine(figure, _shown(value(last), style), _shown(sum(known) if known else None, style), told)

    runs, counted = sum(one.runs for one in costs), sum(one.counted_runs for one in costs)
    lines = [
        line("accelerator hours: training", lambda one: one.training_hours, "{:,.2f}", "wall time of each stage's last real run"),
        line("accelerator hours: evaluation", lambda one: one.evaluation_hours, "{:,.2f}", "wall time of each stage's last real run"),
        line("expert hours", lambda one: one.expert_hours, "{:,.2f}"),
        line("tokens trained on", lambda one: one.trained_tokens, "{:,.0f}", "rows as often as they were shown"),
        line("tokens computed for them", lambda one: one.computed_tokens, "{:,.0f}", "after rows shared what they have in common"),
        line("tokens evaluated", lambda one: one.evaluated_tokens, "{:,.0f}", "prompts and completions of all arms"),
        line("tokens in production", lambda one: one.production_tokens, "{:,.0f}", f"logged in {counted:,} of {runs:,} runs"),
        line("bytes in tables", lambda one: one.stored_bytes, "{:,.0f}", "as they are now; old versions and adapters on top"),
        line("cost of the experts", lambda one: one.experts, "{:,.2f}"),
        line("cost of the accelerator", lambda one: one.accelerator, "{:,.2f}"),
    ]  # fmt: skip
    return [*lines, *_ratios(costs, clusters)]


def _ratios(costs: Sequence[WeekCost], clusters: pl.DataFrame) -> list[CostLine]:
    """Per accepted correction, per failure that stopped, and people over machine; unknown where a part is."""
    last = costs[-1]

    def spent(one: WeekCost) -> float | None:
        return None if one.experts is None or one.accelerator is None else one.experts + one.accelerator

    def ratio(above: float | None, below: float | None, style: str = "{:,.2f}") -> str:
        return style.format(above / below) if above is not None and below else UNKNOWN

    priced = [one for one in costs if spent(one) is not None]
    everything = sum(spent(one) or 0.0 for one in priced) if priced else None
    accepted = sum(one.accepted for one in priced)
    removed, names = removed_failures(clusters, last.week)
    experts = sum(one.experts or 0.0 for one in priced)
    machine = sum(one.accelerator or 0.0 for one in priced)
    partly = "" if len(priced) == len(costs) else f"; {len(priced)} of {len(costs)} weeks priced"
    return [
        CostLine("cost per accepted correction, machine included", ratio(spent(last), last.accepted), ratio(everything, accepted),
                 f"{accepted:,} corrections{partly}"),
        CostLine("cost per fixed failure, machine included", "–", ratio(everything, removed),
                 f"{removed:,} failures a week of {names} clusters that stopped{partly}"),
        CostLine("data to compute: experts over accelerator", ratio(last.experts, last.accelerator, "{:,.1f} to 1"),
                 ratio(experts if priced else None, machine, "{:,.1f} to 1"), f"{_shown(experts if priced else None, '{:,.2f}')} over {_shown(machine if priced else None, '{:,.2f}')}"),
    ]  # fmt: skip


def _shown(value: float | None, style: str) -> str:
    return UNKNOWN if value is None else style.format(value)


def costs_section(lines: Sequence[CostLine]) -> str:
    """The weekly page's table; nothing where nothing was spent."""
    if not lines:
        return ""
    rows: list[list[Any]] = [[line.figure, line.this_week, line.so_far, line.out_of] for line in lines]
    return f"<h2>What it cost</h2>{table(['figure', 'this week', 'all weeks so far', 'counted over'], rows)}"
