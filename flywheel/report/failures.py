"""The page's section on failures: how many, whose fault, which buckets and tools, which clusters, and what was refused at the inbox."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from flywheel.report.facts import FailureRate, WeekFacts
from flywheel.report.figures import figure
from flywheel.report.plots import GOOD, INK, OLD, WIDTH, as_svg, empty_figure
from flywheel.report.text import escaped, table
from flywheel.report.weekly_axes import dress, line
from flywheel.statistics.paired import rate, wilson

TOP_CLUSTERS = 8


def failures_section(facts: WeekFacts) -> str:
    """The section as HTML; says so when there were no traces."""
    failures, runs = facts.tables["production_failures"], facts.tables["production_traces"].height
    if not runs:
        return "<h2>Failures</h2><p>No traces this week.</p>" + _refused(facts)
    parts = ["<h2>Failures</h2>", _summary(failures, runs)]
    if sum(one.runs > 0 for one in facts.history) > 1:
        parts.append(failure_figure(facts.history))
    if failures.height:
        parts += ["<h3>By bucket</h3>", _by_bucket(failures, runs)]
        if tools := _by_tool(failures, facts.tables["failure_clusters"]):
            parts += ["<h3>By tool, the agent's own</h3>", tools]
        parts += ["<h3>Clusters</h3>", _clusters(facts.tables["failure_clusters"])]
    return "".join(parts) + _refused(facts)


def failure_figure(history: Sequence[FailureRate]) -> str:
    """Share of runs with a failure and with one of the agent's, week by week, with 95 % intervals.

    No line crosses a week in which other detectors judged or other tools were offered.
    """
    weeks, marks = [one.week for one in history], [one.marks for one in history]
    picture = empty_figure(WIDTH, 2.6)
    axes = picture.subplots()
    for name, colour, shift, counts_of in (
        ("any failure", OLD, -0.08, lambda one: one.failures),
        ("the agent's fault", GOOD, 0.08, lambda one: one.agent_failures),
    ):
        found = [wilson(counts_of(one), one.runs) if one.runs else None for one in history]
        middles, lows, highs = ([None if one is None else 100 * one[end] for one in found] for end in range(3))
        line(axes, middles, marks, colour=colour, label=name, lows=lows, highs=highs, shift=shift)
    dress(axes, weeks, marks, unit="% of runs")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    rows = [
        [one.week, rate(one.failures, one.runs), rate(one.agent_failures, one.runs), ", ".join(one.marks)]
        for one in history
        if one.runs
    ]
    title = f"Runs with a failure ({sum(one.runs for one in history):,} runs in {len(rows)} weeks)"
    words = f"Runs with a failure of the agent's: {rows[0][2]} in {rows[0][0]}, {rows[-1][2]} in {rows[-1][0]}."
    return figure(title, as_svg(picture), words, ["week", "any failure (95 % interval)", "the agent's fault (95 % interval)", "changed"], rows)  # fmt: skip


def _summary(failures: pl.DataFrame, runs: int) -> str:
    agent = failures.filter(fault="agent").height
    others = Counter(failures.filter(pl.col("fault") != "agent")["fault"])
    told = ", ".join(f"{count} {fault}" for fault, count in others.most_common()) or "none"
    return (
        f"<p>{escaped(rate(failures.height, runs))} of runs have a failure; the agent's fault in {escaped(rate(agent, runs))} of runs. "
        f"Not the agent's: {escaped(rate(failures.height - agent, failures.height))} of failures ({escaped(told)}).</p>"
    )


def _by_bucket(failures: pl.DataFrame, runs: int) -> str:
    mix = failures.group_by("bucket", "fault").len("n").sort("n", "bucket", "fault", descending=[True, False, False])
    rows = [[row["bucket"], row["fault"], rate(row["n"], runs)] for row in mix.iter_rows(named=True)]
    return table(["bucket", "fault", "failures, of runs (95 % interval)"], rows, 1)


def _by_tool(failures: pl.DataFrame, clusters: pl.DataFrame) -> str:
    """The agent's failures by tool, out of the runs that called it; only a tool's clusters know how many those were."""
    called = {row["tool"]: row["opportunities"] for row in clusters.iter_rows(named=True) if row["tool"]}
    failed = Counter(tool for tool in failures.filter(fault="agent")["tool"] if tool)
    rows: list[list[Any]] = [
        [tool, rate(count, called[tool])] for tool, count in failed.most_common() if called.get(tool, 0) >= count
    ]
    return table(["tool", "failures, of runs that called it (95 % interval)"], rows, 1) if rows else ""


def _clusters(clusters: pl.DataFrame) -> str:
    shown = (
        clusters.filter(pl.col("failures") > 0)
        .sort("failures", "failure_cluster", descending=[True, False])
        .head(TOP_CLUSTERS)
    )
    gone = clusters.filter((pl.col("failures") == 0) & (pl.col("status") == "fixed"))
    rows = [
        [row["failure_cluster"], row["status"].replace("_", " "), row["example"], row["failures"],
         "no opportunity" if row["per_1000"] is None else f"{row['per_1000']:.0f} of {row['opportunities']:,} runs"]
        for row in shown.iter_rows(named=True)
    ]  # fmt: skip
    rest = clusters.filter(pl.col("failures") > 0).height - len(rows)
    told = [f"{rest} smaller clusters are in the table failure_clusters."] if rest > 0 else []
    told += [f"Fixed: {row['failure_cluster']}, by {row['fixed_by']}." for row in gone.iter_rows(named=True)]
    header = ["tool · bucket · first error", "status", "one example (redacted)", "failures", "per 1,000 opportunities"]
    return table(header, rows, 2) + "".join(f"<p>{escaped(line)}</p>" for line in told)


def _refused(facts: WeekFacts) -> str:
    refused = facts.tables["quarantined_records"]
    if not refused.height:
        return "<p>No inbox record was refused.</p>"
    counted = Counter(zip(refused["reason_code"], refused["remedy"], strict=True))
    rows: list[list[Any]] = [[reason, remedy, count] for (reason, remedy), count in counted.most_common()]
    return f"<h3>Refused at the inbox</h3>{table(['reason', 'remedy', 'records'], rows, 1)}"
