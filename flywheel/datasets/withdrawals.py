"""Withdrawals: a person, a batch or a poisoned source that may not train any more, and the checkpoints that already did.

A withdrawal is a row, never an edit: the next build of any week leaves the source out, and is otherwise the build it was.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of

# Columns of `training_steps`.
KINDS = ("principal_ref", "batch_version", "trace_id", "source_id", "annotator", "source_file")


class Tainted(NamedTuple):
    """A checkpoint that trained on what was withdrawn, on how many of its rows, and whether it serves."""

    week: str
    adapter_id: str
    rows: int
    serving: bool


def withdraw(lake: Lake, workflow: str, kind: str, value: str, *, by: str, reason: str) -> int:
    """Record a withdrawal; returns the number of candidate steps it concerns. Twice is once.

    Raises FlywheelError for an unknown kind and for a source that no candidate comes from.
    """
    if kind not in KINDS:
        raise FlywheelError(f"nothing can be withdrawn by {kind!r}", remedy=f"name one of {', '.join(KINDS)}")
    concerned = lake.read_columns("training_steps", ("row_id",), workflow=workflow, where=pl.col(kind) == value).height
    if not concerned:
        raise FlywheelError(f"no training step has {kind} {value!r}", where=f"training_steps of {workflow}",
                            remedy="flywheel trace ROW_ID shows where a row comes from")  # fmt: skip
    row = {"withdrawal_id": sha256_of([kind, value])[:16], "kind": kind, "value": value, "reason": reason, "withdrawn_by": by,
           "withdrawn_at": datetime.now(UTC)}  # fmt: skip
    lake.append_new("dataset_withdrawals", [row], workflow=workflow)
    return concerned


def withdrawn_sources(lake: Lake, workflow: str) -> dict[str, set[str]]:
    """Column of `training_steps` -> values that may not train any more."""
    found: dict[str, set[str]] = {}
    for kind, value in lake.read_weeks("dataset_withdrawals", workflow=workflow).select("kind", "value").iter_rows():
        found.setdefault(kind, set()).add(value)
    return found


def tainted(lake: Lake, workflow: str, kind: str, value: str) -> list[Tainted]:
    """Checkpoints of weeks whose datasets, as they lie in the lake, hold rows of the source, oldest first."""
    steps = lake.read_columns("training_steps", ("source_id",), workflow=workflow, where=pl.col(kind) == value)
    sources = pl.col("source_id").is_in(steps["source_id"].unique().to_list())
    log = lake.read_weeks("promotion_log", workflow=workflow).sort("week")
    serving = log["served_adapter_id"][-1] if log.height else ""
    rows = lake.read_columns("sft_dataset", ("week", "source_id"), workflow=workflow, where=sources)
    checkpoints = dict(lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=workflow).rows())
    counts = dict(rows.group_by("week").len().rows())
    return [
        Tainted(week, checkpoints[week], counts[week], checkpoints[week] == serving)
        for week in sorted(counts)
        if week in checkpoints
    ]
