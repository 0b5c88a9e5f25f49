"""What the plots of many weeks show beside the learning curve: failures by bucket, recurrence, speed, cost. Values only."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from flywheel.lake import TABLES, Lake
from flywheel.report.conditions import FAILURES, conditions, marks, measured, weeks_of
from flywheel.report.curve import learning_curve
from flywheel.statistics.recurrence import Recurrence, recurrences
from flywheel.workflows.serving_settings import is_endpoint

BUCKETS = {"week": pl.String, "bucket": pl.String, "failures": pl.Int64}
SPEED = {
    "week": pl.String, "adapter_id": pl.String, "steps": pl.Int64, "p50": pl.Float64, "p95": pl.Float64, "prompt_tokens": pl.Float64,
    "completion_tokens": pl.Float64,
}  # fmt: skip
COST = {
    "week": pl.String, "expert_hours": pl.Float64, "items": pl.Int64, "corrections": pl.Int64, "money": pl.Float64,
    "training": pl.Float64, "evaluation": pl.Float64, "data": pl.Float64,
}  # fmt: skip


class Trends(NamedTuple):
    """Everything of many weeks but the learning curve; `marks` are those of production's failures."""

    weeks: list[str]
    marks: dict[str, list[str]]
    benchmark_marks: dict[str, list[str]]
    runs: dict[str, int]
    buckets: pl.DataFrame
    recurrences: list[Recurrence]
    speed: pl.DataFrame
    cost: pl.DataFrame


def newest(found: Trends, count: int) -> Trends:
    """The same of the newest weeks alone, as many as a picture has room for."""
    weeks = found.weeks[-count:]
    buckets, speed, cost = (
        frame.filter(pl.col("week").is_in(weeks)) for frame in (found.buckets, found.speed, found.cost)
    )
    recurrences = [one for one in found.recurrences if one.week in weeks]
    runs = {week: n for week, n in found.runs.items() if week in weeks}
    return found._replace(weeks=weeks, runs=runs, buckets=buckets, recurrences=recurrences, speed=speed, cost=cost)


def trends(lake: Lake, workflow: str, until: str | None = None) -> Trends:
    """All of it up to a week; frames without rows where nothing is known."""
    weeks = weeks_of(lake, workflow, until)
    curve = learning_curve(lake, workflow, until)
    changed = marks(conditions(lake, workflow, weeks, measured(lake, workflow, until)), FAILURES)
    written = lake.all_lineage(workflow=workflow, tables=["production_traces"])
    runs = {week: rows for week, rows in written.select("week", "rows").iter_rows() if week in set(weeks)}
    return Trends(
        weeks, changed, dict(curve.select("week", "marks").iter_rows()), runs, _buckets(lake, workflow, weeks), _recurrences(lake, workflow, weeks, curve, changed),
        _speed(lake, workflow, curve), weekly_cost(lake, workflow, weeks),
    )  # fmt: skip


def _buckets(lake: Lake, workflow: str, weeks: Sequence[str]) -> pl.DataFrame:
    """The agent's own failures by bucket and week."""
    failures = lake.read_columns("production_failures", ("week", "bucket", "fault"), workflow=workflow)
    mine = failures.filter(pl.col("week").is_in(list(weeks)), fault="agent")
    return mine.group_by("week", "bucket").agg(pl.len().alias("failures").cast(pl.Int64)).sort("week", "bucket")  # fmt: skip


def _recurrences(
    lake: Lake, workflow: str, weeks: Sequence[str], curve: pl.DataFrame, changed: Mapping[str, list[str]]
) -> list[Recurrence]:
    """With what changed between the two weeks of each."""
    serves = dict(curve.select("week", "adapter_id").iter_rows())
    found = recurrences(lake, workflow, serves=lambda week: serves.get(week, "base"), weeks=weeks)
    return [
        one._replace(changed=[label for at in weeks if one.week < at <= one.later for label in changed.get(at, [])])
        for one in found
    ]


def _speed(lake: Lake, workflow: str, curve: pl.DataFrame) -> pl.DataFrame:
    """Seconds and tokens per model step of what serves, where its own week's evaluation measured it; an endpoint's are another measure."""
    wanted = {
        (row["week"], row["adapter_id"])
        for row in curve.iter_rows(named=True)
        if row["measured_in"] == row["week"] and not is_endpoint(row["adapter_id"])
    }
    columns = [
        "week",
        "arm",
        "adapter_id",
        "seconds",
        "step_seconds",
        "model_steps",
        "prompt_tokens",
        "completion_tokens",
    ]
    columns = [name for name in columns if name in TABLES["eval_results"].polars_schema()]
    where = pl.col("arm").is_in(["candidate", "incumbent"]) & (pl.col("model_steps") > 0)
    rows = lake.read_columns("eval_results", [*columns, "case_id", "epoch"], workflow=workflow, where=where)
    lines = []
    for (week, adapter), part in sorted(rows.group_by("week", "adapter_id"), key=lambda pair: str(pair[0])):
        if (week, adapter) in wanted:
            one = part.filter(arm=part["arm"].sort()[0])
            steps, seconds = int(one["model_steps"].sum()), _step_seconds(one)
            lines.append(
                {
                    "week": week, "adapter_id": adapter, "steps": steps, "p50": seconds.quantile(0.5, "linear"),
                    "p95": seconds.quantile(0.95, "linear"), "prompt_tokens": one["prompt_tokens"].sum() / steps,
                    "completion_tokens": one["completion_tokens"].sum() / steps,
                }
            )  # fmt: skip
    return pl.DataFrame(lines, schema=SPEED)


def _step_seconds(rows: pl.DataFrame) -> pl.Series:
    """Seconds of each step; of rows that did not record them, the case's seconds over its steps, once a step."""
    seconds: list[float] = []
    for row in rows.iter_rows(named=True):
        known = json.loads(row.get("step_seconds") or "[]")
        seconds += known or [row["seconds"] / row["model_steps"]] * row["model_steps"]
    return pl.Series(seconds, dtype=pl.Float64)


def weekly_cost(lake: Lake, workflow: str, weeks: Sequence[str]) -> pl.DataFrame:
    """Per week: hours and money of the experts (null where unknown), seconds of the machine in the stages' last real run."""
    effort = lake.read_columns(
        "correction_effort", ("week", "grouping", "name", "role", "items", "active_seconds"), workflow=workflow
    )
    effort = effort.filter(grouping="person")
    quality = lake.read_columns("correction_quality", ("week", "figure", "value"), workflow=workflow)
    money = dict(quality.filter(figure="cost").select("week", "value").iter_rows())
    accepted = lake.read_columns("corrected_traces", ("week", "correction_id"), workflow=workflow)
    written = lake.all_lineage(workflow=workflow)
    seconds = {
        (table, week): spent for table, week, spent in written.select("table_name", "week", "seconds").iter_rows()
    }
    lines = []
    for week in weeks:
        people = effort.filter(week=week)
        timed = people["active_seconds"].drop_nulls()

        def spent(*tables: str, week: str = week) -> float:
            return sum(seconds.get((table, week), 0.0) for table in tables)

        lines.append(
            {
                "week": week, "expert_hours": timed.sum() / 3600 if timed.len() else None,
                "items": people.filter(role="annotator")["items"].sum() if people.height else None,
                "corrections": accepted.filter(week=week).height, "money": money.get(week), "training": spent("checkpoint"),
                "evaluation": spent("eval_results"),
                # Both datasets are written by one stage: each of their times is that stage's.
                "data": spent("production_traces", "production_failures", "correction_batch", "corrected_traces", "promotion")
                + max(spent("sft_dataset"), spent("preference_dataset")),
            }
        )  # fmt: skip
    return pl.DataFrame(lines, schema=COST)
