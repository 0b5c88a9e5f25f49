"""What was accepted since a workflow last trained: small weeks are pooled until they are worth a training (design.md 8.9)."""

import polars as pl

from flywheel.lake.store import Lake


def last_trained(lake: Lake, workflow: str, week: str) -> str | None:
    """The newest week before `week` that has a checkpoint; None before the first."""
    weeks = lake.read_columns("checkpoint", ("week",), workflow=workflow, where=pl.col("week") < week)["week"]
    return weeks.max() if weeks.len() else None  # pyright: ignore[reportReturnType]


def accepted_since(lake: Lake, workflow: str, week: str) -> pl.DataFrame:
    """CORRECTED_TRACES rows of `week` and of the weeks before it that were banked after the last training."""
    trained = last_trained(lake, workflow, week)
    rows = lake.read_weeks("corrected_traces", workflow=workflow, until=week)
    return rows if trained is None else rows.filter(pl.col("week") > trained)
