"""Withdrawals: a person, a batch or a poisoned source that may not train any more, and the checkpoints that already did.

A withdrawal is a row, never an edit: the next build of any week leaves the source out, and is otherwise the build it was.
"""

import json
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl
from deltalake.exceptions import DeltaError

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.serving.ancestry import trained_from
from flywheel.serving.vllm_server import BASE
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.serving_settings import is_endpoint

# Columns of `training_steps`.
KINDS = ("principal_ref", "batch_version", "trace_id", "source_id", "annotator", "source_file")


class Tainted(NamedTuple):
    """A checkpoint that trained on what was withdrawn, on how many of its rows, how it was judged, and whether it serves."""

    week: str
    adapter_id: str
    rows: int
    verdict: str
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
    """Checkpoints that trained on rows of the source, oldest first: by the version of the dataset that each of them read.

    What went on from such a checkpoint learned from them too, and counts at least as many rows.
    """
    sources = _sources(lake, workflow, kind, value)
    log = lake.read_weeks("promotion_log", workflow=workflow).sort("week", "decided_at")
    serving = log["served_adapter_id"][-1] if log.height else ""
    judged = lake.read_columns("promotion", ("candidate_adapter_id", "verdict"), workflow=workflow)
    verdicts = dict(judged.select("candidate_adapter_id", "verdict").rows())
    found: dict[str, Tainted] = {}
    for week, adapter, start in trained_from(lake, workflow).iter_rows():
        rows = int(_trained_on(lake, workflow, week).is_in(list(sources)).sum())
        if start in found:
            rows = max(rows, found[start].rows)
        if rows:
            found[adapter] = Tainted(week, adapter, rows, verdicts.get(adapter, "not judged"), adapter == serving)
    return list(found.values())


def retrained_since(lake: Lake, workflow: str) -> dict[str, str]:
    """Adapters that were judged or served and that no checkpoint row knows any more, each with the week of its last entry.

    Their week has trained another one since, so that nobody knows which dataset they read: take them for tainted.
    """
    log = lake.read_weeks("promotion_log", workflow=workflow).sort("week", "decided_at")
    known = set(trained_from(lake, workflow)["adapter_id"])
    found: dict[str, str] = {}
    for week, *adapters in log.select("week", "candidate_adapter_id", "served_adapter_id").iter_rows():
        for adapter in adapters:
            if adapter is not None and adapter != BASE and not is_endpoint(adapter) and adapter not in known:
                found[adapter] = week
    return found


def weeks_to_rebuild(lake: Lake, workflow: str, kind: str, value: str) -> list[str]:
    """Weeks whose datasets, as they lie in the lake, hold rows of the source, oldest first."""
    among = pl.col("source_id").is_in(list(_sources(lake, workflow, kind, value)))
    held = lake.read_columns("sft_dataset", ("week", "source_id"), workflow=workflow, where=among)
    return sorted(set(held["week"]))


def _sources(lake: Lake, workflow: str, kind: str, value: str) -> set[str]:
    steps = lake.read_columns("training_steps", ("source_id",), workflow=workflow, where=pl.col(kind) == value)
    return set(steps["source_id"])


def _trained_on(lake: Lake, workflow: str, week: str) -> pl.Series:
    """Source ids of the dataset that a week's checkpoint read; of today's where that version is gone (an erasure outranks it)."""
    written = lake.lineage("checkpoint", workflow=workflow, week=week)
    version = json.loads(written.inputs).get(f"sft_dataset/{week}") if written else None
    try:
        return lake.read_partition("sft_dataset", workflow=workflow, week=week, version=version)["source_id"]
    except (DeltaError, OSError, pl.exceptions.PolarsError):
        return lake.read_partition("sft_dataset", workflow=workflow, week=week)["source_id"]
