"""Selection: which failures are handed to people this week, and why.

Priority is cluster size x severity x novelty; caps keep one person or one near-duplicate group from filling the batch;
a random slice of unflagged runs estimates what triage misses (design.md 8.11, notes/corrections-and-traces.md 1.3).
"""

import json
import math
import random
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

import polars as pl

from flywheel.similarity.near_duplicates import group
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Batch

_WEIGHT = {"critical": 3.0, "major": 2.0, "minor": 1.0}
_PRINCIPAL_MINIMUM, _PRINCIPAL_SHARE, _PRINCIPALS_NEEDED = 3, 0.02, 20
_GROUP_CAP = 2


class Selection(NamedTuple):
    """CORRECTION_BATCH rows without partition columns, their version, and how many were passed over by which cap."""

    items: list[dict[str, Any]]
    version: str
    passed_over: dict[str, int]


def select(
    failures: pl.DataFrame, traces: pl.DataFrame, *, handed_out: Collection[str], known_clusters: Collection[str],
    settings: Batch, week: str,
) -> Selection:  # fmt: skip
    """Pick this week's items.

    Args:
        failures, traces: this week's rows.
        handed_out: trace ids that earlier batches hold; never handed out twice.
        known_clusters: clusters of earlier weeks; others are novel and count double.
        week: seeds the random slice.
    """
    by_trace = {row["trace_id"]: row for row in traces.iter_rows(named=True)}
    groups = group({key: _user_text(row) for key, row in by_trace.items()})
    sizes = Counter(failures["failure_cluster"])
    budget = min(settings.max_items, int(settings.minutes // settings.minutes_per_item))
    ranked = sorted(
        (row for row in failures.iter_rows(named=True) if row["fault"] in ("agent", "inconclusive")),
        key=lambda row: (-_priority(row, sizes, known_clusters), row["failure_id"]),
    )
    caps = _Caps(groups, by_trace)
    flagged: list[dict[str, Any]] = []
    for failure in ranked:
        if failure["trace_id"] in handed_out or len(flagged) >= budget - settings.random_slice:
            caps.passed_over["handed_out" if failure["trace_id"] in handed_out else "budget"] += 1
        elif caps.admit(by_trace[failure["trace_id"]]):
            novelty = "new" if failure["failure_cluster"] not in known_clusters else "known"
            why = f"{novelty} cluster of {sizes[failure['failure_cluster']]}, {failure['severity']}"
            priority = _priority(failure, sizes, known_clusters)
            flagged.append(_item(by_trace[failure["trace_id"]], groups, failure, why, priority))
    unflagged = sorted(set(by_trace) - set(failures["trace_id"]) - set(handed_out))
    drawn = random.Random(week).sample(unflagged, min(settings.random_slice, len(unflagged)))
    sliced = [
        _item(by_trace[key], groups, None, "random slice of runs triage did not flag", 0.0) for key in sorted(drawn)
    ]
    items = [*flagged, *sliced]
    version = sha256_of([(item["item_id"], item["trace_id"]) for item in items])[:16]
    numbered = [{**item, "position": position, "batch_version": version} for position, item in enumerate(items)]
    return Selection(numbered, version, dict(caps.passed_over))


class _Caps:
    def __init__(self, groups: dict[str, str], traces: dict[str, dict[str, Any]]) -> None:
        self.groups = groups
        principals = {row["principal_ref"] for row in traces.values() if row["principal_ref"]}
        share = math.floor(_PRINCIPAL_SHARE * len(traces))
        # With few principals the cap would empty the batch; a missing principal is not one principal (design.md 8.11).
        self.per_principal = max(_PRINCIPAL_MINIMUM, share) if len(principals) >= _PRINCIPALS_NEEDED else math.inf
        self.principals: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()

    def admit(self, trace: dict[str, Any]) -> bool:
        principal, near = trace["principal_ref"], self.groups[trace["trace_id"]]
        if principal and self.principals[principal] >= self.per_principal:
            self.passed_over["principal_cap"] += 1
            return False
        if self.taken[near] >= _GROUP_CAP:
            self.passed_over["near_duplicate_cap"] += 1
            return False
        self.principals[principal or ""] += 1
        self.taken[near] += 1
        return True


def _priority(failure: dict[str, Any], sizes: Counter[str], known: Collection[str]) -> float:
    novelty = 1.0 if failure["failure_cluster"] in known else 2.0
    return math.sqrt(sizes[failure["failure_cluster"]]) * _WEIGHT[failure["severity"]] * novelty


def _item(
    trace: dict[str, Any], groups: dict[str, str], failure: dict[str, Any] | None, why: str, priority: float
) -> dict[str, Any]:
    messages = json.loads(trace["messages"])
    first = next(index for index, message in enumerate(messages) if message["role"] == "assistant")
    index = failure["message_index"] if failure else first
    return {
        "item_id": sha256_of([trace["trace_id"], trace["content_sha256"]])[:16],
        "trace_id": trace["trace_id"],
        "failure_id": failure["failure_id"] if failure else None,
        "failure_cluster": failure["failure_cluster"] if failure else "unflagged",
        "bucket": failure["bucket"] if failure else "unflagged",
        "severity": failure["severity"] if failure else "minor",
        "message_index": index,
        "picked_because": why,
        "priority": priority,
        "near_duplicate_group": groups[trace["trace_id"]],
        "conversation_id": trace["conversation_id"],
        "principal_ref": trace["principal_ref"],
        "tools": trace["tools"],
        "messages": canonical_json(messages),
    }


def _user_text(trace: dict[str, Any]) -> str:
    return "\n".join(str(m.get("content") or "") for m in json.loads(trace["messages"]) if m["role"] == "user")
