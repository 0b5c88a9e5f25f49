"""The prequential score in numbers: each adapter on the week after its own, by how the steps got into the batch.

Three figures an arm, and they are not the same thing. *Random slice*: runs that triage did not flag, drawn at random. *Selected failures*:
flagged runs, picked by priority and not at random; they were picked because what served had failed them, so what served is at a
disadvantage there by construction. *Weighted*: both, by the shares of flagged and unflagged runs in the week's production, an estimate
for production as far as selected failures stand for all flagged runs. Runs whose failure was nobody's of the agent are in neither.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.statistics.paired import paired_difference, wilson
from flywheel.statistics.ratios import clustered_ratio
from flywheel.statistics.strata import Joined, Part, joined

CHECKPOINT, INCUMBENT = "checkpoint", "incumbent"
RANDOM_SLICE, SELECTED = "random_slice", "selected_failures"
SAMPLES = (RANDOM_SLICE, SELECTED)
_COLUMNS = ("week", "case_id", "case_cluster", "slice", "arm", "epoch", "adapter_id", "success", "made_by", "answer")


class Score(NamedTuple):
    """One arm on one week's steps of one sample: solved cases (a case's mean over its epochs) of n, with an interval clustered by near-duplicate group."""

    solved: float
    n: int
    rate: Joined | None


class Arm(NamedTuple):
    """One arm in one week. `made` steps are of runs that its own adapter served."""

    name: str
    adapter_id: str
    scores: dict[str, Score]
    weighted: Joined | None
    made: int


class Week(NamedTuple):
    """One week's steps: runs of its production that triage flagged and did not, the arms, and checkpoint minus incumbent.

    `accepted` corrections the week had, `corrected` of them were asked, and `steps - corrected` runs that people found right. `gain` holds the difference for each sample, and weighted under the key `weighted`; empty with one arm.
    """

    week: str
    flagged: int
    unflagged: int
    steps: int
    infra_errors: int
    corrected: int
    accepted: int
    arms: list[Arm]
    gain: dict[str, Joined]

    def arm(self, name: str) -> Arm | None:
        """The arm of that name."""
        return next((arm for arm in self.arms if arm.name == name), None)


def prequential(lake: Lake, workflow: str, until: str | None = None) -> list[Week]:
    """Every week that was scored, up to `until`, oldest first."""
    where = None if until is None else pl.col("week") <= until
    rows = lake.read_columns("prequential_results", _COLUMNS, workflow=workflow, where=where)
    weeks = rows["week"].unique().sort().to_list()
    if not weeks:
        return []
    among = pl.col("week").is_in(weeks)
    failures = lake.read_columns("production_failures", ("week", "trace_id", "fault"), workflow=workflow, where=among)
    runs = dict(
        lake.read_columns("production_traces", ("week", "trace_id"), workflow=workflow, where=among)
        .group_by("week")
        .len()
        .iter_rows()
    )
    accepted = dict(lake.all_lineage(workflow=workflow, tables=["corrected_traces"]).select("week", "rows").iter_rows())
    found = []
    for week in weeks:
        mine = failures.filter(week=week)
        flagged = mine.filter(pl.col("fault").is_in(["agent", "inconclusive"]))["trace_id"].n_unique()
        scored = week_score(rows.filter(week=week), flagged, runs.get(week, 0) - mine["trace_id"].n_unique())
        found.append(scored._replace(accepted=accepted.get(week, scored.corrected)))
    return found


def over_weeks(weeks: Sequence[Week]) -> dict[str, Score]:
    """The random slice of all weeks together, by arm: rarely enough in one week to say anything. Weeks count as clusters."""
    found = {}
    for name in dict.fromkeys(arm.name for week in weeks for arm in week.arms):
        scores = [(week.week, arm.scores[RANDOM_SLICE]) for week in weeks if (arm := week.arm(name))]
        n = sum(score.n for _, score in scores)
        rate = clustered_ratio(
            [score.solved for _, score in scores], [score.n for _, score in scores], [week for week, _ in scores]
        )
        found[name] = Score(
            math.fsum(score.solved for _, score in scores), n, Joined(rate.estimate, rate.low, rate.high) if n else None
        )
    return found


def week_score(rows: pl.DataFrame, flagged: int, unflagged: int) -> Week:
    """One week's scores from its PREQUENTIAL_RESULTS rows and the week's numbers of flagged and unflagged runs."""
    done = rows.filter(pl.col("success").is_not_null()).with_columns(pl.col("success").cast(pl.Float64))
    cases = (
        done.group_by("arm", "adapter_id", "slice", "case_id", "case_cluster", "made_by")
        .agg(pl.col("success").mean())
        .sort("case_id", "arm")
    )
    weights = {SELECTED: flagged, RANDOM_SLICE: unflagged}
    arms = []
    for name, adapter in rows.select("arm", "adapter_id").unique().sort("arm").iter_rows():
        mine = cases.filter(arm=name)
        scores = {sample: _score(mine.filter(slice=sample)) for sample in SAMPLES}
        parts = [_part(weights[sample], scores[sample].rate) for sample in SAMPLES]
        arms.append(Arm(name, adapter, scores, _within(joined(parts), 0.0), mine.filter(made_by=adapter).height))
    errors = rows.filter(pl.col("success").is_null())["case_id"].n_unique()
    corrected, steps = rows.filter(answer="corrected")["case_id"].n_unique(), rows["case_id"].n_unique()
    return Week(
        str(rows["week"][0]), flagged, unflagged, steps, errors, corrected, corrected, arms, _gain(cases, weights)
    )


def _score(cases: pl.DataFrame) -> Score:
    if cases.is_empty():
        return Score(0.0, 0, None)
    values, clusters = cases["success"].to_list(), cases["case_cluster"].to_list()
    if len(set(clusters)) == len(values) and set(values) <= {0.0, 1.0}:  # nothing moves together, and slices are small
        rate = wilson(round(sum(values)), len(values))
    else:
        rate = clustered_ratio(values, [1.0] * len(values), clusters)
    return Score(math.fsum(values), len(values), Joined(rate.estimate, rate.low, rate.high))


def _gain(cases: pl.DataFrame, weights: dict[str, int]) -> dict[str, Joined]:
    """Checkpoint minus incumbent on the steps that both answered."""
    found: dict[str, Joined] = {}
    for sample in SAMPLES:
        part = cases.filter(slice=sample)
        both = (
            part.filter(arm=CHECKPOINT).join(part.filter(arm=INCUMBENT), on="case_id", suffix="_before").sort("case_id")
        )
        if both.height:
            gap = paired_difference(
                both["success"].to_list(), both["success_before"].to_list(), both["case_cluster"].to_list()
            )
            found[sample] = Joined(gap.mean, gap.lower, gap.upper)
    whole = _within(joined([_part(weights[sample], found.get(sample)) for sample in SAMPLES]), -1.0)
    return {**found, "weighted": whole} if whole else found


def _part(weight: int, known: Joined | None) -> Part:
    return Part(weight, *(known or (math.nan, math.nan, math.nan)))


def _within(found: Joined | None, lowest: float) -> Joined | None:
    return found and Joined(found.estimate, max(lowest, found.low), min(1.0, found.high))
