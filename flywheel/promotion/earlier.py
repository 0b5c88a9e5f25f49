"""What earlier weeks left in the lake, as the gate needs it: verdicts, adapters that served, their stored results, metrics."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl

from flywheel.lake import TABLES, Lake
from flywheel.promotion.history import compared_versions
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.serving_settings import is_endpoint

_DECISIVE = (
    "week", "verdict", "core_version", "benchmark_version", "margin", "cases", "candidate_adapter_id", "incumbent_adapter_id",
    "candidate_success", "incumbent_success", "a_a_week", "a_a_flipped", "a_a_verdict",
)  # fmt: skip


class Earlier(NamedTuple):
    """What a decision of `week` may look back on.

    Attributes:
        history: PROMOTION rows of the weeks before.
        promoted: adapters that served before this week; an endpoint was never promoted.
        results_of: week and arm to the EVAL_RESULTS rows stored there.
        metrics: this week's metrics of the candidate on the core, by name.
        comparisons: benchmark version of every verdict that `flywheel evaluate --gate` gave before this week was decided.
    """

    week: str
    history: pl.DataFrame
    promoted: set[str]
    results_of: Callable[[str, str], pl.DataFrame]
    metrics: Mapping[str, float | None]
    comparisons: list[str] = []  # noqa: RUF012  (never changed)

    def fingerprint(self) -> str:
        """Hash of what may change the decision."""
        rows = self.history.select(_DECISIVE).rows()
        return sha256_of([[*map(list, rows)], sorted(self.promoted), dict(self.metrics), self.comparisons])


def earlier(lake: Lake, workflow: str, week: str, log: pl.DataFrame) -> Earlier:
    """Read it from the lake; `log` is the workflow's promotion log."""

    columns = list(TABLES["eval_results"].polars_schema())  # all: the digest of a row covers them

    def results_of(of_week: str, arm: str) -> pl.DataFrame:
        where = (pl.col("week") == of_week) & (pl.col("arm") == arm)
        return lake.read_columns("eval_results", columns, workflow=workflow, where=where)

    history = lake.read_weeks("promotion", workflow=workflow).filter(pl.col("week") < week).sort("week")
    promoted = {one for one in log.filter(pl.col("week") < week)["served_adapter_id"] if not is_endpoint(one)}
    decided = log.filter(week=week)["decided_at"].min()  # a past week counts again what it counted then
    verdicts = lake.read_weeks("configuration_verdicts", workflow=workflow)
    comparisons = compared_versions(verdicts if decided is None else verdicts.filter(pl.col("decided_at") < decided))
    return Earlier(week, history, promoted, results_of, candidate_metrics(lake, workflow, week), comparisons)


def candidate_metrics(lake: Lake, workflow: str, week: str) -> dict[str, float | None]:
    """The candidate's metrics of a week over all categories of the core, by name; empty where none were computed."""
    if not lake.has_partition("eval_metrics", workflow=workflow, week=week):
        return {}
    rows = lake.read_partition("eval_metrics", workflow=workflow, week=week).filter(arm="candidate", category="all")
    # Where there are no slices all cases are the core's, and are written down once.
    by_slice = {name: rows.filter(slice=name) for name in ("all", "core")}
    return {metric: value for part in by_slice.values() for metric, value in part.select("metric", "value").iter_rows()}
