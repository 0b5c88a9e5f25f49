"""Recurrence (design.md 8.23): do corrected failures come back? Failures per 1,000 opportunities two weeks later over the rate before."""

from datetime import date, timedelta
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake


class Recurrence(NamedTuple):
    """The clusters that one week's corrections were made for, in that week and two weeks later.

    Attributes:
        ratio, low, high: later rate over the rate before, with its 95 % interval (relative risk); None where a rate is not known.
        came_back: clusters with failures two weeks later, the most frequent first, with their count and their opportunities.
        by: adapters that served two weeks later.
    """

    week: str
    later: str
    clusters: int
    before: tuple[int, int]
    after: tuple[int, int]
    ratio: float | None
    low: float | None
    high: float | None
    came_back: list[tuple[str, int, int]]
    by: list[str]

    def sentence(self) -> str:
        """As people read it."""
        said = (
            f"{self.clusters} failure clusters corrected in week {self.week}: {_rate(*self.before)} then, {_rate(*self.after)} in week "
            f"{self.later}"
        )
        if self.ratio is None:
            return f"{said}; recurrence not known"
        interval = (
            "" if self.low is None or self.high is None else f" (95 % interval {self.low:.2f} to {self.high:.2f})"
        )
        return f"{said}; recurrence {self.ratio:.2f}{interval}, {len(self.came_back)} of {self.clusters} came back"


def recurrence(lake: Lake, workflow: str, *, until: str | None = None) -> Recurrence | None:
    """The newest week of corrections whose later week is there too; None when there is none."""
    corrected = lake.read_columns("corrected_traces", ("week", "failure_cluster"), workflow=workflow)
    counted = lake.read_weeks("failure_clusters", workflow=workflow)
    there = {week for week in counted["week"] if until is None or week <= until}
    for week in sorted(set(corrected["week"]), reverse=True):
        later = (date.fromisoformat(week) + timedelta(days=14)).isoformat()
        if week in there and later in there:
            return _between(counted, set(corrected.filter(week=week)["failure_cluster"]), week, later)
    return None


def _between(counted: pl.DataFrame, clusters: set[str], week: str, later: str) -> Recurrence | None:
    """Both weeks of the clusters that the first one counted; the random slice of runs without a failure is none."""
    first = counted.filter(pl.col("week") == week, pl.col("failure_cluster").is_in(list(clusters)))
    second = counted.filter(
        pl.col("week") == later, pl.col("failure_cluster").is_in(first["failure_cluster"].implode())
    )
    if not first.height:
        return None
    before, after = (
        tuple(int(part[name].sum()) for name in ("agent_failures", "opportunities")) for part in (first, second)
    )
    back = second.filter(pl.col("agent_failures") > 0).sort("agent_failures", descending=True)
    came_back = back.select("failure_cluster", "agent_failures", "opportunities").rows()
    served = sorted({name for text in second["by_adapter"] for name, (_, runs) in _pairs(text) if runs})
    return Recurrence(week, later, first.height, before, after, *_ratio(before, after), came_back, served)  # type: ignore[arg-type]


def _pairs(text: str) -> list[tuple[str, list[int]]]:
    import json

    return list(json.loads(text).items())


def _ratio(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[float | None, float | None, float | None]:
    """Relative risk with its interval (Katz 1978, as scipy has it); without a later failure only the ratio 0 is known."""
    if not before[0] or not before[1] or not after[1]:
        return None, None, None
    if not after[0]:
        return 0.0, None, None
    from scipy.stats.contingency import relative_risk

    found = relative_risk(min(after), after[1], min(before), before[1])
    interval = found.confidence_interval(0.95)
    return float(found.relative_risk), float(interval.low), float(interval.high)


def _rate(failures: int, opportunities: int) -> str:
    if not opportunities:
        return f"{failures} without an opportunity"
    return f"{1000 * failures / opportunities:.0f} per 1,000 ({failures} of {opportunities})"
