"""Figures of many weeks beside the learning curve: failures by bucket, recurrence, speed and cost, each with its table."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flywheel.report.figures import figure, number
from flywheel.report.plots import GOOD, INK, OLD, WIDTH, as_svg, empty_figure
from flywheel.report.trends import Trends, newest
from flywheel.report.weekly_axes import DRAWN_WEEKS, dress, line
from flywheel.statistics.rates import per_thousand, rate_ratio
from flywheel.statistics.recurrence import Recurrence

# Okabe and Ito's colours, told apart by the colour-blind; the last is for the rest.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#9aa3ad")
OTHERS = "all others"


def trend_figures(trends: Trends) -> str:
    """All figures that have something to show, as HTML."""
    shown, left = newest(trends, DRAWN_WEEKS), len(trends.weeks) - DRAWN_WEEKS
    told = (
        f"<p>The newest {DRAWN_WEEKS} weeks are drawn; {left} earlier ones are in the tables of the lake.</p>"
        if left > 0
        else ""
    )
    figures = "".join(make(shown) for make in (bucket_figure, recurrence_figure, speed_figure, cost_figure))
    return told + figures if figures else ""


def bucket_figure(trends: Trends) -> str:
    """Stacked bars: the agent's failures of each bucket per 100 runs, week by week."""
    if trends.buckets.is_empty():
        return ""
    weeks = trends.weeks
    counts = {(week, bucket): n for week, bucket, n in trends.buckets.rows()}
    totals = trends.buckets.group_by("bucket").agg(pl.col("failures").sum()).sort("failures", "bucket", descending=[True, False])  # fmt: skip
    ranked = totals["bucket"].to_list()
    shown = ranked if len(ranked) <= len(COLOURS) else ranked[: len(COLOURS) - 1]
    series = {name: [counts.get((week, name), 0) for week in weeks] for name in shown}
    if len(shown) < len(ranked):
        series[OTHERS] = [sum(counts.get((week, name), 0) for name in ranked[len(shown) :]) for week in weeks]
    runs = [trends.runs.get(week, 0) for week in weeks]
    picture = empty_figure(WIDTH, 3.1)
    axes = picture.subplots()
    bottom = [0.0] * len(weeks)
    for (name, values), colour in zip(series.items(), COLOURS, strict=False):
        heights = [100 * value / n if n else 0.0 for value, n in zip(values, runs, strict=True)]
        axes.bar(range(len(weeks)), heights, bottom=bottom, width=0.62, color=colour, label=name.replace("_", " "))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    dress(axes, weeks, [trends.marks.get(week, []) for week in weeks], unit="failures per 100 runs")
    axes.set_ylim(0, 1.15 * max(*bottom, 0.1))
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    rows = [
        [week, n or "no traces", *(values[place] for values in series.values())]
        for place, (week, n) in enumerate(zip(weeks, runs, strict=True))
    ]
    total = int(trends.buckets["failures"].sum())
    title = f"The agent's failures in production, by bucket ({total:,} failures in {sum(runs):,} runs)"
    words = "; ".join(f"{name.replace('_', ' ')}: {_path(values, runs)}" for name, values in series.items())
    header = ["week", "runs", *(name.replace("_", " ") for name in series)]
    return figure(title, as_svg(picture), f"Failures per 100 runs, first and last week with traces. {words}", header, rows, len(series) + 1)  # fmt: skip


def _path(values: Sequence[int], runs: Sequence[int]) -> str:
    known = [100 * value / n for value, n in zip(values, runs, strict=True) if n]
    return f"{known[0]:.1f}, then {known[-1]:.1f}" if known else "no traces"


def recurrence_figure(trends: Trends) -> str:
    """How often corrected clusters still fail two weeks later, per 1,000 opportunities, beside the rate they had."""
    found = {one.week: one for one in trends.recurrences}
    if not found:
        return ""
    weeks = [week for week in trends.weeks if min(found) <= week <= max(found)]
    before = [per_thousand(*found[week].before) if week in found else None for week in weeks]
    after = [per_thousand(*found[week].after) if week in found and found[week].comparable else None for week in weeks]
    labels = [_said(found[week]) if week in found else "" for week in weeks]
    picture = empty_figure(WIDTH, 2.9)
    axes = picture.subplots()
    for values, colour, name, shift in (
        (before, OLD, "in the week corrected", -0.1),
        (after, GOOD, "two weeks later, by the adapter that served", 0.1),
    ):
        line(axes, _part(values, 0), [[] for _ in weeks], colour=colour, label=name, lows=_part(values, 1),
             highs=_part(values, 2), shift=shift, joined=False)  # fmt: skip
    dress(axes, weeks, [[] for _ in weeks], unit="failures per 1,000 opportunities")
    for place, changed in enumerate(labels):
        if changed and not (place and labels[place - 1]):  # once for neighbours
            axes.annotate(changed, (place + 0.08, 0), fontsize=8, color=INK, rotation=90, va="bottom")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("week in which they were corrected, by its Monday", color=INK, fontsize=9)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    clusters = sum(one.clusters for one in trends.recurrences)
    title = f"Recurrence of corrected failure clusters ({clusters} clusters in {len(found)} weeks)"
    header = ["corrected in", "clusters", "then (95 % interval)", "two weeks later (95 % interval)", "of that rate (95 % interval)", "served by"]  # fmt: skip
    rows = [_recurrence_row(one) for one in trends.recurrences]
    words = "; ".join(f"corrected in {row[0]}: {row[2]} then, {row[3]} two weeks later" for row in rows)
    return figure(title, as_svg(picture), f"Failures per 1,000 opportunities. {words}", header, rows)


def _part(values: Sequence[tuple[float, float, float] | None], which: int) -> list[float | None]:
    return [None if value is None else value[which] for value in values]


def _said(one: Recurrence) -> str:
    """What stands beside a pair of rates between which something changed."""
    changed = ", ".join(one.changed)
    return changed if one.comparable else f"not comparable: {changed}"


def _recurrence_row(one: Recurrence) -> list[Any]:
    def rate(counts: tuple[int, int]) -> str:
        value, low, high = per_thousand(*counts)
        return f"{value:,.0f} ({low:,.0f} to {high:,.0f}): {counts[0]:,} of {counts[1]:,}"

    ratio = _said(one)
    if one.comparable:
        value, low, high = rate_ratio(one.after, one.before)
        share = f"{value:.0%} ({low:.0%} to {'any' if high == float('inf') else f'{high:.0%}'})"
        ratio = f"{share}; {ratio}" if ratio else share
    return [one.week, one.clusters, rate(one.before), rate(one.after), ratio, one.adapter_id]


def speed_figure(trends: Trends) -> str:
    """Seconds and tokens of one model step on the benchmark, of what serves after each week."""
    if trends.speed.is_empty():
        return ""
    rows = {row["week"]: row for row in trends.speed.iter_rows(named=True)}
    marks = [trends.benchmark_marks.get(week, []) for week in trends.weeks]
    picture = empty_figure(WIDTH, 2.7)
    left, right = picture.subplots(1, 2, gridspec_kw={"wspace": 0.22})
    for axes, names, unit in (
        (left, {"p50": "median", "p95": "95th percentile"}, "seconds per step"),
        (right, {"prompt_tokens": "prompt", "completion_tokens": "generated"}, "tokens per step, mean"),
    ):
        for (name, label), colour in zip(names.items(), (GOOD, OLD), strict=True):
            values = [rows[week][name] if week in rows else None for week in trends.weeks]
            line(axes, values, marks, colour=colour, label=label)
        dress(axes, trends.weeks, marks, unit=unit, labelled=axes is left, ticks=6)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="center right")
    cells = [
        [week, row["adapter_id"], row["steps"], number(row["p50"], "{:.2f}"), number(row["p95"], "{:.2f}"),
         number(row["prompt_tokens"], "{:,.0f}"), number(row["completion_tokens"], "{:,.0f}")]
        for week, row in rows.items()
    ]  # fmt: skip
    header = ["week", "serves after it", "steps", "median s", "95th percentile s", "prompt tokens", "generated tokens"]
    title = f"Latency and tokens per step of what serves, on the benchmark ({_span(trends.speed)})"
    last = cells[-1]
    words = f"In {last[0]}: median {last[3]} s and 95th percentile {last[4]} s a step, {last[5]} prompt and {last[6]} generated tokens."
    return figure(title, as_svg(picture), words, header, cells, 5)


def _span(speed: pl.DataFrame) -> str:
    low, high = speed["steps"].min(), speed["steps"].max()
    return f"n = {low:,} steps a week" if low == high else f"n = {low:,} to {high:,} steps a week"


def cost_figure(trends: Trends) -> str:
    """Hours of the experts and minutes of the machine, week by week."""
    cost = trends.cost.filter(pl.col("expert_hours").is_not_null() | (pl.sum_horizontal(*_MACHINE) > 0))
    if cost.is_empty():
        return ""
    places = {week: place for place, week in enumerate(trends.weeks)}
    where = [places[week] for week in cost["week"]]
    picture = empty_figure(WIDTH, 2.7)
    left, right = picture.subplots(1, 2, gridspec_kw={"wspace": 0.22})
    left.bar(where, cost["expert_hours"].fill_null(0.0).to_list(), width=0.62, color=COLOURS[1])
    bottom = [0.0] * cost.height
    for (name, label), colour in zip(_MACHINE.items(), COLOURS[:1] + COLOURS[2:], strict=False):
        minutes = (cost[name] / 60).to_list()
        right.bar(where, minutes, bottom=bottom, width=0.62, color=colour, label=label)
        bottom = [low + height for low, height in zip(bottom, minutes, strict=True)]
    no_marks: list[list[str]] = [[] for _ in trends.weeks]
    dress(left, trends.weeks, no_marks, unit="expert hours", ticks=6)
    dress(right, trends.weeks, no_marks, unit="machine minutes", ticks=6)
    right.set_ylim(0, 1.3 * max(*bottom, 0.1))
    if not any(cost["expert_hours"].fill_null(0.0)):  # else the axis of an empty plot runs below zero
        left.set_ylim(0, 1)
        left.text(0.5, 0.5, "not measured yet", transform=left.transAxes, ha="center", fontsize=9, color=INK)
    right.legend(
        frameon=False, fontsize=9, labelcolor=INK, ncols=3, loc="upper left", columnspacing=1, handlelength=1.2
    )
    header = ["week", "expert hours", "items", "accepted corrections", "cost of the experts", *(f"{label}, s" for label in _MACHINE.values())]  # fmt: skip
    rows = [
        [row["week"], number(row["expert_hours"], "{:,.2f}"), number(row["items"], "{:,}"), f"{row['corrections']:,}",
         number(row["money"], "{:,.2f}"), *(number(row[name]) for name in _MACHINE)]
        for row in cost.iter_rows(named=True)
    ]  # fmt: skip
    hours, minutes = cost["expert_hours"].drop_nulls(), sum(cost[name].sum() for name in _MACHINE) / 60
    known = f"{hours.sum():,.1f} expert hours, known of {hours.len()} weeks" if hours.len() else "expert hours unknown"
    title = f"Cost per week (n = {cost.height}; {known}; {minutes:,.1f} machine minutes of each stage's last real run)"
    words = "; ".join(f"{row[0]}: {row[1]} expert hours" for row in rows)
    return figure(title, as_svg(picture), words, header, rows, len(header) - 1)


_MACHINE: Mapping[str, str] = {"training": "training", "evaluation": "evaluation", "data": "all else"}
