"""What the next hours are worth: failures a week that corrections should remove, by cluster, and whether earlier forecasts came true.

The model, stated whole. Recurrence is a cluster's agent failures two weeks later over what its rate would have given at the later week's
traffic. Corrected clusters have one distribution of recurrence, clusters that nobody had corrected another (`statistics.gamma_poisson`);
both are learned from the workflow's own past. Two hours on a cluster remove, a week: its failures x (recurrence untouched - recurrence
corrected), for the number of corrections that past clusters got at the median; fewer count in proportion, more do not count. Time comes
from the store: active seconds of all roles per accepted correction of the bucket, else of all.

A forecast made in a week uses what was known then, and is held against the failures two weeks later.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median
from typing import NamedTuple

import numpy as np
import polars as pl

from flywheel.lake import Lake
from flywheel.report.trends import Trends
from flywheel.statistics.gamma_poisson import RatioPosterior, Summary, ratio_posterior, summary
from flywheel.statistics.recurrence import LATER

HOURS = 2.0
MINUTES_WEEKS, FEWEST_TIMED = 4, 5
CORRECTED, UNTOUCHED = "corrected", "untouched"


class Pair(NamedTuple):
    """One cluster in a week and two weeks later: agent failures and opportunities of both."""

    week: str
    later: str
    cluster: str
    before: tuple[int, int]
    after: tuple[int, int]
    group: str

    @property
    def expected(self) -> float:
        """Failures that the earlier rate gives at the later week's traffic."""
        return self.before[0] / self.before[1] * self.after[1]


class Worth(NamedTuple):
    """One cluster's next two hours.

    Attributes:
        failures, opportunities: of the newest week, the agent's own.
        minutes: of all roles per accepted correction; None where no time is known.
        corrections: that the hours, or the failures there are, allow.
        removed: failures a week that no longer come, two weeks later.
        in_flight: corrections of this week and the last, whose effect nobody could see yet.
    """

    cluster: str
    failures: int
    opportunities: int
    minutes: float | None
    corrections: int
    removed: Summary
    in_flight: int


class Held(NamedTuple):
    """One week's forecast for one group of clusters against what came two weeks later; `inside` clusters lay in their own interval."""

    week: str
    later: str
    group: str
    clusters: int
    forecast: Summary
    happened: int
    inside: int
    learned_from: int


class Value(NamedTuple):
    """All of it up to one week; `recurrence` is the mean ratio of both groups, with the number of clusters it stands on."""

    week: str
    worth: list[Worth]
    held: list[Held]
    recurrence: dict[str, tuple[Summary, int]]
    typical_corrections: float | None


def value(lake: Lake, workflow: str, found: Trends) -> Value | None:
    """What is known up to the newest week of `found`; None before there are failures."""
    columns = ("week", "failure_cluster", "bucket", "agent_failures", "opportunities")
    counted = lake.read_columns("failure_clusters", columns, workflow=workflow).filter(
        pl.col("week").is_in(found.weeks)
    )
    if counted.is_empty():
        return None
    week = str(counted["week"].max())
    corrected = lake.read_columns("corrected_traces", ("week", "failure_cluster", "bucket"), workflow=workflow)
    corrected = corrected.filter(pl.col("week") <= week)
    pairs = pairs_of(counted, corrected, found.marks)
    learned = {group: _posterior(pairs, group, week) for group in (CORRECTED, UNTOUCHED)}
    got = [n for _, n in Counter(corrected.select("week", "failure_cluster").rows()).items()]
    typical = float(median(got)) if got else None
    worth = _worth(counted.filter(week=week), corrected, minutes_of(lake, workflow, corrected, week), learned, typical)
    known = {group: (posterior.mean_ratio(), posterior.clusters) for group, posterior in learned.items()}
    return Value(week, worth, calibration(pairs), known, typical)


def pairs_of(counted: pl.DataFrame, corrected: pl.DataFrame, marks: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Every cluster that failed in a week and had opportunities two weeks later, in either group; oldest first.

    Left out: weeks between which other detectors judged, and clusters that were corrected before or in the week between, whose
    later failures belong to those corrections.
    """
    rows = {(row["week"], row["failure_cluster"]): row for row in counted.iter_rows(named=True)}
    weeks_of: dict[str, set[str]] = defaultdict(set)
    for at, cluster in corrected.select("week", "failure_cluster").iter_rows():
        weeks_of[cluster].add(at)
    found = []
    for (week, cluster), one in sorted(rows.items()):
        later = (date.fromisoformat(week) + LATER).isoformat()
        two = rows.get((later, cluster))
        if two is None or not one["agent_failures"] or not one["opportunities"] or not two["opportunities"]:
            continue
        if any("other detectors" in labels for at, labels in marks.items() if week < at <= later):
            continue
        touched = {at for at in weeks_of[cluster] if at < later}
        if touched and week not in touched:
            continue
        group = CORRECTED if week in touched else UNTOUCHED
        counts = [(int(row["agent_failures"] or 0), int(row["opportunities"])) for row in (one, two)]
        found.append(Pair(week, later, cluster, counts[0], counts[1], group))
    return found


def calibration(pairs: Sequence[Pair]) -> list[Held]:
    """Each week's forecast, from what was known in it, against what came; weeks in which nothing was known yet forecast by the prior."""
    found = []
    for week, group in sorted({(pair.week, pair.group) for pair in pairs}):
        mine = [pair for pair in pairs if (pair.week, pair.group) == (week, group)]
        posterior = _posterior(pairs, group, week)
        draws = posterior.counts([pair.expected for pair in mine], np.random.default_rng(0))
        inside = sum(
            bool(low <= pair.after[0] <= high)
            for pair, (low, high) in zip(mine, np.quantile(draws, (0.025, 0.975), axis=0).T, strict=True)
        )
        happened = sum(pair.after[0] for pair in mine)
        found.append(
            Held(
                week, mine[0].later, group, len(mine), summary(draws.sum(axis=1)), happened, inside, posterior.clusters
            )
        )
    return found


def minutes_of(lake: Lake, workflow: str, corrected: pl.DataFrame, week: str) -> dict[str, float]:
    """Bucket -> active minutes of all roles per accepted correction, over the newest weeks with known times; `all` for every bucket together.

    A bucket with fewer than five accepted corrections in that time has none of its own.
    """
    columns = ("week", "grouping", "name", "role", "active_seconds")
    effort = lake.read_columns("correction_effort", columns, workflow=workflow)
    effort = effort.filter(pl.col("week") <= week, grouping="bucket").drop_nulls("active_seconds")
    timed_weeks = sorted(set(effort["week"]))[-MINUTES_WEEKS:]
    effort = effort.filter(pl.col("week").is_in(timed_weeks))
    seconds = {str(name): float(part["active_seconds"].sum()) for (name,), part in effort.group_by("name")}
    accepted = Counter(corrected.filter(pl.col("week").is_in(timed_weeks))["bucket"])
    found = {name: spent / 60 / accepted[name] for name, spent in seconds.items() if accepted[name] >= FEWEST_TIMED}
    if seconds and accepted:
        found["all"] = sum(seconds.values()) / 60 / accepted.total()
    return found


def _posterior(pairs: Sequence[Pair], group: str, known_in: str) -> RatioPosterior:
    """From the group's pairs whose later week was over."""
    past = [pair for pair in pairs if pair.group == group and pair.later <= known_in]
    return ratio_posterior([pair.after[0] for pair in past], [pair.expected for pair in past])


def _worth(
    newest: pl.DataFrame, corrected: pl.DataFrame, minutes: Mapping[str, float], learned: Mapping[str, RatioPosterior],
    typical: float | None,
) -> list[Worth]:  # fmt: skip
    """The clusters that failed in the newest week, those first whose hours should remove most."""
    rng = np.random.default_rng(0)
    gain = learned[UNTOUCHED].ratios(1, rng)[:, 0] - learned[CORRECTED].ratios(1, rng)[:, 0]
    week = str(newest["week"].max())
    recent = corrected.filter(pl.col("week") > (date.fromisoformat(week) - LATER).isoformat())
    in_flight = Counter(recent["failure_cluster"])
    found = []
    for row in newest.filter(pl.col("agent_failures") > 0).iter_rows(named=True):
        each = minutes.get(row["bucket"], minutes.get("all"))
        able = int(HOURS * 60 / each) if each else row["agent_failures"]
        corrections = min(able, row["agent_failures"])
        share = min(1.0, corrections / typical) if typical else 1.0
        found.append(
            Worth(
                row["failure_cluster"], row["agent_failures"], row["opportunities"], each, corrections,
                summary(gain * row["agent_failures"] * share), in_flight[row["failure_cluster"]],
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.removed.mean, one.cluster))
