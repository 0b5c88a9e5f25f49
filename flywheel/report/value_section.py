"""The pages' part on where the next hours go: worth by cluster, earlier forecasts against what came, and cycle time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from flywheel.lake import Lake
from flywheel.report.cycle_time import Stretch, cycles, stretches, week_end
from flywheel.report.figures import figure, number
from flywheel.report.plots import GOOD, INK, OLD, WIDTH, as_svg, empty_figure
from flywheel.report.text import escaped, table
from flywheel.report.trends import Trends
from flywheel.report.value import CORRECTED, HOURS, UNTOUCHED, Held, Value, Worth, value
from flywheel.report.weekly_axes import DRAWN_WEEKS, dress, line, mondays
from flywheel.statistics.gamma_poisson import Summary
from flywheel.statistics.waiting_times import Median

SHOWN = 12
WORTH_HEADER = ["tool · bucket · first error", "failures last week", "minutes a correction", f"corrections in {HOURS:g} h", "removes a week (95 % interval)", "in flight"]  # fmt: skip
HELD_HEADER = ["forecast in", "clusters", "n", "forecast failures (95 % interval)", "came two weeks later", "inside their own interval", "learned from"]  # fmt: skip
CYCLE_HEADER = ["corrected by", "from", "to", "median days (95 % interval)", "ended, of"]


class NextHours(NamedTuple):
    """What the section shows; no worth before there are failures, no stretches before a cluster was seen."""

    value: Value | None
    stretches: list[Stretch]


def next_hours(lake: Lake, workflow: str, found: Trends) -> NextHours:
    """Read it up to the newest week of `found`."""
    ways = cycles(lake, workflow, found.weeks)
    until: datetime | None = week_end(found.weeks[-1]) if found.weeks else None
    return NextHours(value(lake, workflow, found), stretches(ways, until) if ways and until else [])


def next_hours_section(shown: NextHours) -> str:
    """The weekly page's section; empty before there is anything to say."""
    worth = shown.value.worth if shown.value else []
    parts = []
    if shown.value and worth:
        parts.append(f"<p>{escaped(learned_sentence(shown.value))}</p>")
        parts.append(table(WORTH_HEADER, [worth_row(one) for one in worth[:SHOWN]], 5))
        if len(worth) > SHOWN:
            parts.append(f"<p>{len(worth) - SHOWN} further clusters: flywheel value.</p>")
    if shown.value and shown.value.held:
        newest = max(one.later for one in shown.value.held)
        rows = [held_row(one) for one in shown.value.held if one.later == newest]
        parts.append(f"<h3>The forecasts for {escaped(newest)}, and what came</h3>{table(HELD_HEADER, rows, 5)}")
    if shown.stretches:
        parts.append(
            f"<h3>Cycle time of failure clusters</h3>{table(CYCLE_HEADER, [cycle_row(one) for one in shown.stretches], 2)}"
        )
    return f"<h2>Where the next {HOURS:g} hours go</h2>{''.join(parts)}" if parts else ""


def forecast_figure(shown: NextHours) -> str:
    """Forecasts of corrected clusters' failures beside what came, week by week; empty before the first is two weeks old."""
    held = {one.week: one for one in shown.value.held if one.group == CORRECTED} if shown.value else {}
    if not held:
        return ""
    weeks = mondays(min(held), max(held))[-DRAWN_WEEKS:]
    picture = empty_figure(WIDTH, 2.9)
    axes = picture.subplots()
    forecasts = [held[week].forecast if week in held else None for week in weeks]
    nothing: list[list[str]] = [[] for _ in weeks]
    line(axes, [one and one.mean for one in forecasts], nothing, colour=OLD, label="forecast", joined=False, shift=-0.1,
         lows=[one and one.low for one in forecasts], highs=[one and one.high for one in forecasts])  # fmt: skip
    came = [float(held[week].happened) if week in held else None for week in weeks]
    line(axes, came, nothing, colour=GOOD, label="came", joined=False, shift=0.1)
    dress(axes, weeks, nothing, unit="failures in the week two weeks later")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    every = shown.value.held if shown.value else []
    words = "; ".join(f"{one.week}: {span(one.forecast)} forecast, {one.happened} came" for one in held.values())
    title = f"Failures of corrected clusters, forecast and counted: {coverage_sentence(every)}"
    return figure(title, as_svg(picture), words, HELD_HEADER, [held_row(one) for one in every], 5)


def learned_sentence(known: Value) -> str:
    """What the forecast stands on, in one sentence."""
    told = [
        f"{group} clusters recur at {span(ratio, '{:.2f}')} times their rate, from {count} of them"
        if count
        else f"of {group} clusters nothing is known yet: the prior says {span(ratio, '{:.2f}')} times their rate"
        for group, (ratio, count) in known.recurrence.items()
    ]
    got = (
        ""
        if known.typical_corrections is None
        else f"; a corrected cluster got {known.typical_corrections:g} corrections at the median"
    )
    return f"Two weeks later {'; '.join(told)}{got}. Below zero: hours there removed nothing that would have stayed."


def coverage_sentence(held: Sequence[Held]) -> str:
    """How many clusters' counts lay in their own interval, over all forecasts so far."""
    said = []
    for group in (CORRECTED, UNTOUCHED):
        mine = [one for one in held if one.group == group]
        if mine:
            said.append(
                f"{sum(one.inside for one in mine)} of {sum(one.clusters for one in mine)} {group} clusters inside their 95 % interval"
            )
    return ", ".join(said) or "no forecast is two weeks old"


def worth_row(one: Worth) -> list[Any]:
    """The cells of WORTH_HEADER."""
    return [one.cluster, f"{one.failures} of {one.opportunities:,} runs", number(one.minutes), one.corrections, span(one.removed), one.in_flight or ""]  # fmt: skip


def held_row(one: Held) -> list[Any]:
    """The cells of HELD_HEADER."""
    return [one.week, one.group, one.clusters, span(one.forecast), one.happened, f"{one.inside} of {one.clusters}", f"{one.learned_from} clusters"]  # fmt: skip


def cycle_row(one: Stretch) -> list[Any]:
    """The cells of CYCLE_HEADER."""
    return [one.who, one.start, one.end, days(one.days), f"{one.days.ended} of {one.days.n}"]


def days(found: Median) -> str:
    """A median in days with its interval; unknown where fewer than half have ended."""
    if found.value is None:
        return "not half have ended"
    low, high = (number(end) if end is not None else "?" for end in (found.low, found.high))
    return f"{found.value:,.1f} ({low} to {high})"


def span(found: Summary, style: str = "{:.1f}") -> str:
    """A forecast with its interval."""
    mean, low, high = (
        style.format(value).replace("-0.0", "0.0") if abs(value) < 0.05 else style.format(value) for value in found
    )
    return f"{mean} ({low} to {high})"
