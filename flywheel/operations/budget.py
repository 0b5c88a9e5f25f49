"""A week's budget: what it has spent, what the next stage would take, and the refusal before it is spent.

Spent is what Dagster timed, attempts that failed or were killed included, and never less than what the lake recorded. The estimate is the
last real run's time, scaled by what there is to do; before there was one, only what was spent can be looked at.
"""

from collections.abc import Mapping
from typing import NamedTuple

import dagster as dg
import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.judge_tables import ASKED_HERE
from flywheel.partitions import partition_key
from flywheel.workflows.pack import Pack

# Stages that hold the accelerator -> what their time grows with, the column that says so, and how much a week's rows did.
_WORK: Mapping[str, tuple[str, str, pl.Expr]] = {
    "checkpoint": ("row presentations", "sft_presentations", pl.col("sft_presentations").sum()),
    "eval_results": ("outputs", "server", ASKED_HERE.sum()),
}
_NEWEST = 3


class Spending(NamedTuple):
    """Hours a week has spent on training and evaluation, hours the next stage would take (None: unknown), and what that rests on."""

    spent: float
    next: float | None
    because: str

    def total(self) -> float:
        """Hours after the next stage, as far as known."""
        return self.spent + (self.next or 0.0)


def spent_hours(lake: Lake, on: dg.DagsterInstance | None, workflow: str, week: str) -> float:
    """Hours of training and evaluation of a week, over all attempts that Dagster still knows, else of the last real runs."""
    written = lake.all_lineage(workflow=workflow, tables=list(_WORK)).filter(week=week)
    recorded = float(written["seconds"].sum()) / 3600
    if on is None:
        return recorded
    timed = 0.0
    for record in on.get_run_records(dg.RunsFilter(tags={"dagster/partition": str(partition_key(week, workflow))})):
        ended = record.end_time if record.dagster_run.is_finished else None
        for step in on.get_run_step_stats(record.dagster_run.run_id, [*_WORK]):
            for attempt in step.attempts_list or [step]:
                end = attempt.end_time or ended  # a killed attempt has no end of its own
                if attempt.start_time is not None and end is not None:
                    timed += max(0.0, end - attempt.start_time)
    return max(recorded, timed / 3600)


def estimate(lake: Lake, workflow: str, week: str, stage: str, amount: int) -> tuple[float | None, str]:
    """Hours the stage would take for `amount` of its work, at the slowest pace of its newest weeks; None before there was one.

    The slowest, because a week whose outputs were only scored again took no time to speak of.
    """
    unit, column, work = _WORK[stage]
    done = lake.read_columns(stage, ("week", column), workflow=workflow).group_by("week").agg(work.alias("amount"))
    seconds = dict(lake.all_lineage(workflow=workflow, tables=[stage]).select("week", "seconds").iter_rows())
    known = done.filter(pl.col("amount") > 0, pl.col("week") <= week).sort("week").tail(_NEWEST)
    if not known.height:
        return None, f"no week has run {stage} yet, so what it takes is not known"
    pace, then, took, did = max(
        (seconds.get(one, 0.0) / did, one, seconds.get(one, 0.0), did) for one, did in known.iter_rows()
    )
    return pace * amount / 3600, f"{amount:,} {unit} at the pace of {then}, which took {took / 3600:.2f} h for {did:,}"


def refuse_overspending(
    lake: Lake, on: dg.DagsterInstance | None, pack: Pack, week: str, stage: str, amount: int
) -> Spending | None:
    """Raise FlywheelError when the stage would pass the pack's budget for the week; else what was reckoned, None without a budget.

    Args:
        amount: what the stage is going to do: row presentations of training, outputs of evaluation.
    """
    budget, rates = pack.settings.budget, pack.settings.rates
    if budget.accelerator_hours is None and budget.money is None:
        return None
    hours, because = estimate(lake, pack.name, week, stage, amount)
    spending = Spending(spent_hours(lake, on, pack.name, week), hours, because)
    where = f"{pack.folder / 'workflow.yaml'}: budget"
    if budget.accelerator_hours is not None:
        _refuse(
            spending,
            spending.spent,
            spending.next,
            budget.accelerator_hours,
            f"{stage} of {week}",
            "h",
            "budget.accelerator_hours",
            where,
        )
    if budget.money is not None:
        if "accelerator_hour" not in rates:
            raise FlywheelError("a budget in money needs the price of an hour", where=where, remedy="state rates.accelerator_hour in workflow.yaml, or budget.accelerator_hours instead")  # fmt: skip
        rate = rates["accelerator_hour"]
        quality = lake.read_columns("correction_quality", ("week", "figure", "value"), workflow=pack.name)
        people = sum(quality.filter(week=week, figure="cost")["value"].drop_nulls().to_list(), 0.0)
        taking = None if spending.next is None else spending.next * rate
        _refuse(
            spending,
            people + spending.spent * rate,
            taking,
            budget.money,
            f"{stage} of {week}",
            "of money",
            "budget.money",
            where,
        )
    return spending


def _refuse(
    spending: Spending, spent: float, taking: float | None, limit: float, what: str, unit: str, name: str, where: str
) -> None:
    if spent + (taking or 0.0) <= limit and spent < limit:
        return
    about = "an unknown time" if taking is None else f"about {taking:.2f} {unit}"
    raise FlywheelError(
        f"{what} is not started: it would take {about}, and the week has spent {spent:.2f} of {limit:.2f} {unit} ({name}); {spending.because}",
        where=where,
        remedy=f"raise {name}, make the work smaller (training.sft_presentations, evaluation.epochs), or leave the week: what serves is carried "
        "forward. flywheel cost shows where it went",
    )
