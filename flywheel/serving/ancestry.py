"""Which adapters an adapter went on from (`training.start: incumbent`): whatever they trained on, it knows too."""

import polars as pl

from flywheel.lake import Lake


def trained_from(lake: Lake, workflow: str) -> pl.DataFrame:
    """Week, adapter_id and start_adapter_id of every checkpoint, oldest first."""
    columns = ("week", "adapter_id", "start_adapter_id")
    return lake.read_columns("checkpoint", columns, workflow=workflow).sort("week", "adapter_id")


def ancestors(trained: pl.DataFrame, adapter_id: str) -> dict[str, str]:
    """The adapter and all that it went on from, nearest first, each with the week that trained it; empty for one nobody trained.

    Args:
        trained: as `trained_from` gives it.
    """
    rows = {adapter: (week, start) for week, adapter, start in trained.iter_rows()}
    found: dict[str, str] = {}
    at: str | None = adapter_id
    while at is not None and at in rows and at not in found:
        found[at], at = rows[at]
    return found


def descendants(trained: pl.DataFrame, adapters: set[str]) -> dict[str, str]:
    """Adapters that went on from one of these, directly or not, each with the week that trained it."""
    found: dict[str, str] = {}
    for week, adapter, start in trained.iter_rows():  # oldest first: a start stands before what went on from it
        if start is not None and (start in adapters or start in found) and adapter not in adapters:
            found[adapter] = week
    return found
