"""Runs that another base model wrote. After a change of base their corrections still train, their wrong answers are nobody's own any more."""

from bisect import bisect_right

import polars as pl

from flywheel.lake import Lake
from flywheel.serving.vllm_server import BASE


def foreign_traces(lake: Lake, workflow: str, base_sha256: str) -> frozenset[str]:
    """Ids of the traces whose adapter was trained on another base model than this one; none while there was only one.

    Runs of the bare base model count for the base that their week trained on; where it trained nothing, for the one before.
    """
    trained = lake.read_columns("checkpoint", ("week", "adapter_id", "base_model_sha256"), workflow=workflow).sort(
        "week"
    )
    if set(trained["base_model_sha256"]) <= {base_sha256}:
        return frozenset()
    of_adapter = dict(trained.select("adapter_id", "base_model_sha256").iter_rows())
    weeks, bases = trained["week"].to_list(), trained["base_model_sha256"].to_list()
    runs = lake.read_columns("production_traces", ("week", "trace_id", "adapter_id"), workflow=workflow)
    adapters = runs.select("week", "adapter_id").unique()
    foreign = [
        {"week": week, "adapter_id": adapter} for week, adapter in adapters.iter_rows()
        if _base(week, adapter, of_adapter, weeks, bases) not in (None, base_sha256)
    ]  # fmt: skip
    named = pl.DataFrame(foreign, schema={"week": pl.String, "adapter_id": pl.String})
    return frozenset(runs.join(named, on=["week", "adapter_id"])["trace_id"])


def _base(week: str, adapter: str | None, of_adapter: dict[str, str], weeks: list[str], bases: list[str]) -> str | None:
    """Hash of the base model behind the runs of a week and adapter; None where nobody knows."""
    if adapter != BASE:
        return of_adapter.get(adapter or "")
    return bases[max(0, bisect_right(weeks, week) - 1)]
