"""Failure clusters: failures that share tool, bucket and first error, under a name a person can read, and how they recur."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl

from flywheel.toolcalls.arguments import canonical_json

_SEEN = (
    "failure_cluster",
    "tool",
    "bucket",
    "failures",
    "first_seen_week",
    "last_seen_week",
    "by_adapter",
    "example",
    "status",
    "fixed_by",
)


@lru_cache(maxsize=10_000)
def cluster_name(tool: str | None, bucket: str, first_error: str) -> str:
    """`tool · bucket · error`; numbers, ids and quoted values removed so that instances of one defect share it."""
    error = re.sub(r"'[^']*'|\"[^\"]*\"", "…", first_error)
    error = re.sub(r"\b(?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]+", "#", error)
    error = re.sub(r"\d+", "#", error).strip()
    return f"{tool or 'no tool'} · {bucket} · {error[:80]}"


def recurrence(
    failures: pl.DataFrame, opportunities: Mapping[tuple[str, str | None], int], earlier: pl.DataFrame, week: str
) -> list[dict[str, Any]]:
    """FAILURE_CLUSTERS rows of a week.

    Args:
        failures: the week's PRODUCTION_FAILURES rows.
        opportunities: (adapter, tool) -> runs that called the tool, tool None for all runs.
        earlier: FAILURE_CLUSTERS rows of earlier weeks.

    A cluster is new, persisting (in the week before that was read, too) or come_back. One that was seen last time and is not now
    is fixed when another adapter served and there were opportunities, quiet without opportunities, else absent.
    """
    last = last_seen(earlier)
    previous = earlier["week"].max() if earlier.height else None
    rows = []
    for name, group in _by_cluster(failures).items():
        before = last.get(name)
        status = (
            "new"
            if before is None
            else "persisting"
            if before["failures"] and before["week"] == previous
            else "come_back"
        )
        row = _row(name, group[0]["tool"], group[0]["bucket"], group, opportunities)
        rows.append({**row, "status": status, "fixed_by": None, "last_seen_week": week,
                     "first_seen_week": before["first_seen_week"] if before else week,
                     "example": json.loads(group[0]["evidence"])[0]})  # fmt: skip
    now = {row["failure_cluster"] for row in rows}
    for name, before in last.items():
        if name not in now and before["week"] == previous:
            rows.append(_gone(before, opportunities))
    return sorted(rows, key=lambda row: (-row["failures"], row["failure_cluster"]))


def last_seen(earlier: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """What the clusters of a week depend on in the weeks before: cluster -> its newest FAILURE_CLUSTERS row, without its metrics."""
    rows = earlier.sort("week", "failure_cluster").select("week", *_SEEN)
    return {row["failure_cluster"]: row for row in rows.iter_rows(named=True)}


def _gone(before: dict[str, Any], opportunities: Mapping[tuple[str, str | None], int]) -> dict[str, Any]:
    row = _row(before["failure_cluster"], before["tool"], before["bucket"], [], opportunities)
    kept = {key: before[key] for key in ("first_seen_week", "last_seen_week", "example")}
    if not before["failures"]:  # it was gone already
        return {**row, **kept, "status": before["status"], "fixed_by": before["fixed_by"]}
    failed_under = {adapter for adapter, (failed, _) in json.loads(before["by_adapter"]).items() if failed}
    served = {adapter for adapter, (_, runs) in json.loads(row["by_adapter"]).items() if runs}
    others = sorted(served - failed_under)
    status = "quiet" if not row["opportunities"] else "fixed" if others else "absent"
    return {**row, **kept, "status": status, "fixed_by": others[-1] if status == "fixed" else None}


def _by_cluster(failures: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in failures.sort("failure_id").iter_rows(named=True):
        groups.setdefault(row["failure_cluster"], []).append(row)
    return groups


def _row(
    name: str,
    tool: str | None,
    bucket: str,
    group: list[dict[str, Any]],
    opportunities: Mapping[tuple[str, str | None], int],
) -> dict[str, Any]:
    runs = {adapter: count for (adapter, called), count in opportunities.items() if called == tool}
    failed = Counter(row["adapter_id"] for row in group)
    total = sum(runs.values())
    return {
        "failure_cluster": name,
        "tool": tool,
        "bucket": bucket,
        "failures": len(group),
        "agent_failures": sum(row["fault"] == "agent" for row in group),
        "opportunities": total,
        "per_1000": 1000 * len(group) / total if total else None,
        "by_adapter": canonical_json(
            {adapter: [failed[adapter], runs.get(adapter, 0)] for adapter in sorted({*runs, *failed})}
        ),
    }
