"""After the switch: does production carry the promoted adapter, and does it fail less often than before?

The canary period compares the agent's failures by the adapter that served the run, over the newest weeks of both: of all runs, of each
kind of failure and of each failure cluster, per 1,000 opportunities, with intervals that know that runs of one person belong together.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.promotion.pointer import BASE, since
from flywheel.statistics.paired import holm
from flywheel.statistics.two_rates import RateDifference, count_difference, rate_difference
from flywheel.workflows.serving_settings import is_endpoint

WEEKS_EACH, MINIMUM_RUNS, LEVEL = 4, 30, 0.05
SERVED_SHARE = 0.95
Verdict = Literal["worse", "better", "no difference seen", "too few runs"]


class Carried(NamedTuple):
    """Whether production carries what was released: runs since, how many with its id, and who else answered."""

    state: Literal["served", "partly_served", "promoted_but_not_served", "no_runs_yet"]
    adapter_id: str
    runs: int
    carrying: int
    others: dict[str, int]


class Compared(NamedTuple):
    """One live rate before and after the switch: agent failures, opportunities (runs, or runs that called the tool), difference."""

    kind: Literal["all", "bucket", "failure_cluster"]
    name: str
    failures_before: int
    opportunities_before: int
    failures_after: int
    opportunities_after: int
    difference: RateDifference
    p_adjusted: float

    @property
    def verdict(self) -> Verdict:
        """Worse where the Holm-adjusted one-sided test says so; better where the interval lies below zero."""
        if min(self.opportunities_before, self.opportunities_after) < MINIMUM_RUNS:
            return "too few runs"
        if self.p_adjusted < LEVEL:
            return "worse"
        return "better" if self.difference.high < 0 else "no difference seen"


class CanaryPeriod(NamedTuple):
    """The comparison of what serves with what served before; `simulated` where the runs are the demo's."""

    before: str
    after: str
    weeks_before: list[str]
    weeks_after: list[str]
    compared: list[Compared]
    simulated: bool

    @property
    def regressions(self) -> list[Compared]:
        """What got worse."""
        return [row for row in self.compared if row.verdict == "worse"]

    def sentence(self, workflow: str) -> str:
        """As people read it, with what to do about a regression."""
        total = self.compared[0]
        said = (
            f"{self.after} against {self.before}: {_per_1000(total.failures_after, total.opportunities_after)} agent failures per 1,000 runs, "
            f"before {_per_1000(total.failures_before, total.opportunities_before)}, difference {difference_of(total)}: {total.verdict}"
        )
        if not self.regressions:
            return said
        worse = ", ".join(row.name for row in self.regressions)
        return (
            f"LIVE REGRESSION ({worse}): {said}; to go back: flywheel rollback --workflow {workflow} --by NAME --reason "
            f"'worse in production: {self.regressions[0].name}'"
        )


def carried(lake: Lake, workflow: str, log: pl.DataFrame) -> Carried | None:
    """Do the runs since the newest move carry its adapter? None while nothing ever moved.

    Runs that name no adapter read as `base`: where an endpoint serves, they are its. Runs of later weeks count, from the moment of the move on; the demo's simulated weeks have no such moment.
    """
    move = since(log)
    if move is None:
        return None
    runs = lake.read_columns("production_traces", ("week", "adapter_id", "started_at", "environment"), workflow=workflow,
                             where=pl.col("week") > move["week"])  # fmt: skip
    runs = runs.filter((pl.col("started_at") >= move["decided_at"]) | (pl.col("environment") == "simulated"))
    counts = Counter(runs["adapter_id"])
    adapter_id = move["served_adapter_id"]
    carrying = counts.pop(adapter_id, 0) + (counts.pop(BASE, 0) if is_endpoint(adapter_id) else 0)
    state = (
        "no_runs_yet" if not runs.height else "promoted_but_not_served" if not carrying
        else "served" if carrying >= SERVED_SHARE * runs.height else "partly_served"
    )  # fmt: skip
    return Carried(state, adapter_id, runs.height, carrying, dict(counts.most_common()))


def canary_period(lake: Lake, workflow: str, log: pl.DataFrame, *, until: str | None = None) -> CanaryPeriod | None:
    """Compare what serves with what served before, over the newest weeks of each; None without a switch, or without runs of both.

    Args:
        until: last week that counts, for a week that is looked at later.
    """
    move = since(log)
    if move is None:
        return None
    before, after = move["previous_adapter_id"], move["served_adapter_id"]
    written = lake.all_lineage(workflow=workflow, tables=["production_failures"])["week"]
    triaged = [week for week in written if until is None or week <= until]
    # Runs that name no adapter read as `base`: they are the endpoint's, where one of the two is one and the other is not the base.
    endpoint = next((one for one in (before, after) if is_endpoint(one)), None)
    named = {BASE: endpoint} if endpoint and BASE not in (before, after) else {}
    among = pl.col("adapter_id").is_in([before, after, *named]) & pl.col("week").is_in(triaged)
    columns = ("week", "trace_id", "adapter_id", "principal_ref", "environment")
    runs = lake.read_columns("production_traces", columns, workflow=workflow, where=among).with_columns(_whose(named))
    weeks = {adapter: sorted(set(runs.filter(adapter_id=adapter)["week"]))[-WEEKS_EACH:] for adapter in (before, after)}
    if not weeks[before] or not weeks[after]:
        return None
    runs = runs.filter(
        ((pl.col("adapter_id") == before) & pl.col("week").is_in(weeks[before]))
        | ((pl.col("adapter_id") == after) & pl.col("week").is_in(weeks[after]))
    )
    failures = lake.read_columns("production_failures", ("week", "trace_id", "bucket", "failure_cluster", "adapter_id", "tool"),
                                 workflow=workflow, where=among & (pl.col("fault") == "agent"))  # fmt: skip
    failures = failures.with_columns(_whose(named)).join(
        runs.select("week", "trace_id"), on=["week", "trace_id"], how="semi"
    )
    compared = [
        *_over_runs("all", ["all runs"], runs, failures.with_columns(all=pl.lit("all runs")), before, after),
        *_over_runs("bucket", sorted(set(failures["bucket"])), runs, failures, before, after),
        *_over_clusters(lake, workflow, runs, failures, before, after),
    ]
    simulated = bool((runs["environment"] == "simulated").all())
    return CanaryPeriod(before, after, weeks[before], weeks[after], compared, simulated)


def _whose(named: dict[str, str]) -> pl.Expr:
    """The adapter of a run, under its other name where it has one."""
    return pl.col("adapter_id").replace(named) if named else pl.col("adapter_id")


def _over_runs(
    kind: Literal["all", "bucket"], names: Sequence[str], runs: pl.DataFrame, failures: pl.DataFrame, before: str, after: str
) -> list[Compared]:  # fmt: skip
    """One comparison a name, of runs that failed so among all runs of each adapter, clustered by person; an unknown person is one run's."""
    people = pl.coalesce("principal_ref", "trace_id")
    sides = [runs.filter(adapter_id=adapter).select("trace_id", people.alias("person")) for adapter in (before, after)]
    rows: list[tuple[str, list[int], RateDifference]] = []
    for name in names:
        failed = failures.filter(pl.col(kind) == name)["trace_id"].implode()
        values = [side["trace_id"].is_in(failed).to_list() for side in sides]
        people_of = [side["person"].to_list() for side in sides]
        counts = [sum(values[0]), len(values[0]), sum(values[1]), len(values[1])]
        rows.append((name, counts, rate_difference(values[0], people_of[0], values[1], people_of[1])))
    return _adjusted(kind, rows)


def _over_clusters(
    lake: Lake, workflow: str, runs: pl.DataFrame, failures: pl.DataFrame, before: str, after: str
) -> list[Compared]:
    """One comparison a failure cluster, over the runs that called its tool where the lake counted them for both, else over all runs."""
    columns = ("week", "tool", "by_adapter")
    known = lake.read_columns(
        "failure_clusters", columns, workflow=workflow, where=pl.col("week").is_in(list(set(runs["week"])))
    )
    called: dict[tuple[str, str | None, str], int] = {}
    for row in known.iter_rows(named=True):
        for adapter, (_, opportunities) in json.loads(row["by_adapter"]).items():
            called[row["week"], row["tool"], adapter] = opportunities
    rows: list[tuple[str, list[int], RateDifference]] = []
    for (name, tool), part in sorted(failures.group_by("failure_cluster", "tool"), key=lambda item: str(item[0])):
        counts: list[int] = []
        for adapter in (before, after):
            mine = runs.filter(adapter_id=adapter)
            found = [
                called.get((week, None if tool is None else str(tool), adapter)) for week in sorted(set(mine["week"]))
            ]
            counted = [count for count in found if count is not None]
            counts += [part.filter(adapter_id=adapter).height, sum(counted) if len(counted) == len(found) else -1]
        if -1 in counts or any(counts[n] > counts[n + 1] for n in (0, 2)):
            counts[1], counts[3] = (runs.filter(adapter_id=adapter).height for adapter in (before, after))
        rows.append((str(name), counts, count_difference(counts[2], counts[3], counts[0], counts[1])))
    return _adjusted("failure_cluster", rows)


def _adjusted(
    kind: Literal["all", "bucket", "failure_cluster"], rows: Sequence[tuple[str, list[int], RateDifference]]
) -> list[Compared]:
    """Comparisons of one kind, their p-values adjusted for how many there are."""
    p_values = holm([difference.p_higher for *_, difference in rows])
    return [
        Compared(kind, name, counts[0], counts[1], counts[2], counts[3], difference, p)
        for (name, counts, difference), p in zip(rows, p_values, strict=True)
    ]


def shown(period: CanaryPeriod) -> list[dict[str, Any]]:
    """The comparisons as a table for people: per 1,000 opportunities, worst first."""
    order = {"worse": 0, "better": 1, "no difference seen": 2, "too few runs": 3}
    rows = sorted(period.compared, key=lambda row: (row.kind != "all", order[row.verdict], -row.difference.difference))
    return [
        {
            "what": row.name if row.kind == "all" else f"{row.kind} {row.name}",
            f"{period.before}, per 1,000": _per_1000(row.failures_before, row.opportunities_before),
            f"{period.after}, per 1,000": _per_1000(row.failures_after, row.opportunities_after),
            "difference": difference_of(row),
            "verdict": row.verdict,
        }
        for row in rows
    ]  # fmt: skip


def difference_of(row: Compared) -> str:
    """A difference per 1,000 opportunities with its 95 % interval."""
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*(1000 * value for value in row.difference[:3]))


def _per_1000(failures: int, opportunities: int) -> str:
    return f"{1000 * failures / opportunities:.0f} ({failures} of {opportunities})" if opportunities else "no runs"
