"""Recurrence (design.md 8.23): do corrected failures come back? Failures per 1,000 opportunities two weeks later over the rate before.

One rule for `flywheel status`, the metadata of `promotion`, the weekly page and `flywheel weeks`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from flywheel.lake import Lake
from flywheel.statistics.rates import per_thousand, rate_ratio

LATER = timedelta(days=14)
ALL = "all"


class Recurrence(NamedTuple):
    """The clusters corrected in one week: how often they came then, and two weeks later under the adapter that served.

    Attributes:
        week, later: the week corrected, and the one two weeks after it.
        clusters: corrected clusters that had an opportunity in both weeks.
        adapter_id: what the pointer had serving in the later week; `all` where it served none of the runs.
        before, after: (failures, opportunities), summed over the clusters.
        came_back: clusters with failures two weeks later, the most frequent first, with their count and their opportunities.
        changed: marks between the two weeks, where they were looked for: other detectors, other tools.
    """

    week: str
    later: str
    clusters: int
    adapter_id: str
    before: tuple[int, int]
    after: tuple[int, int]
    came_back: list[tuple[str, int, int]]
    changed: Sequence[str] = ()

    @property
    def comparable(self) -> bool:
        """Whether the same detectors found both; other tools leave a tool's own clusters what they were, and are named."""
        return "other detectors" not in self.changed

    def sentence(self) -> str:
        """As people read it."""
        said = f"{self.clusters} failure clusters corrected in week {self.week}: {_rate(*self.before)} then, {_rate(*self.after)} in week {self.later}"
        if not self.before[0]:
            return f"{said}; recurrence not known"
        ratio, low, high = rate_ratio(self.after, self.before)
        interval = f"(95 % interval {low:.2f} to {high:.2f})"
        return f"{said}; recurrence {ratio:.2f} {interval}, {len(self.came_back)} of {self.clusters} came back"


def recurrences(
    lake: Lake, workflow: str, *, serves: Callable[[str], str], weeks: Sequence[str] | None = None
) -> list[Recurrence]:
    """For each week whose corrections are two weeks old, oldest first; without a common opportunity there is no entry.

    Args:
        serves: week -> what served after that week's decision.
        weeks: the weeks looked at; None for all.
    """
    corrected = lake.read_columns("corrected_traces", ("week", "failure_cluster"), workflow=workflow).unique()
    columns = ("week", "failure_cluster", "failures", "opportunities", "by_adapter")
    rows = lake.read_columns("failure_clusters", columns, workflow=workflow)
    seen = {(row["week"], row["failure_cluster"]): row for row in rows.iter_rows(named=True)}
    known = sorted(set(rows["week"])) if weeks is None else weeks
    found = []
    for week in known:
        later = (date.fromisoformat(week) + LATER).isoformat()
        if later in known:
            names = sorted(corrected.filter(week=week)["failure_cluster"].unique())
            adapter = serves((date.fromisoformat(week) + LATER / 2).isoformat())
            found.append(_between(seen, names, week, later, adapter))
    return [one for one in found if one is not None]


def _between(
    seen: Mapping[tuple[str, str], dict[str, Any]], names: Sequence[str], week: str, later: str, adapter: str
) -> Recurrence | None:
    pairs = [(name, _before(seen, name, week), seen.get((later, name))) for name in names]
    counted = [
        (name, one, two) for name, one, two in pairs if one and two and one["opportunities"] and two["opportunities"]
    ]
    if not counted:
        return None
    by_adapter = [json.loads(two["by_adapter"] or "{}").get(adapter, (0, 0)) for *_, two in counted]
    if not sum(runs for _, runs in by_adapter):
        adapter, by_adapter = ALL, [(two["failures"], two["opportunities"]) for *_, two in counted]
    then = [(one["failures"], one["opportunities"]) for _, one, _ in counted]
    back = [(name, failed, runs) for (name, *_), (failed, runs) in zip(counted, by_adapter, strict=True) if failed]
    return Recurrence(
        week,
        later,
        len(counted),
        adapter,
        _sum(then),
        _sum(by_adapter),
        sorted(back, key=lambda one: (-one[1], one[0])),
    )


def _before(seen: Mapping[tuple[str, str], dict[str, Any]], name: str, week: str) -> dict[str, Any] | None:
    """The cluster in the newest week up to `week` that saw it: an item may have waited for its correction."""
    weeks = [at for (at, cluster), row in seen.items() if cluster == name and at <= week and row["failures"]]
    return seen[max(weeks), name] if weeks else None


def _sum(pairs: Sequence[Sequence[int]]) -> tuple[int, int]:
    return sum(int(one) for one, _ in pairs), sum(int(two) for _, two in pairs)


def _rate(failures: int, opportunities: int) -> str:
    value, low, high = per_thousand(failures, opportunities)
    return f"{value:.0f} per 1,000 ({failures} of {opportunities}, {low:.0f} to {high:.0f})"
