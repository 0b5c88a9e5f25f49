"""Selection: which failures are handed to people this week, and why.

Priority is cluster size x severity x novelty, doubled for what the last verdict asked for (`asked.py`); caps keep one person
or one near-duplicate group from filling the batch; a random slice of unflagged runs estimates what triage misses (design.md 8.11,
notes/corrections-and-traces.md 1.3).
"""

import json
import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.failures.asked import Asked, asked_for
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Batch

ASKED_WEIGHT = 2.0
_WEIGHT = {"critical": 3.0, "major": 2.0, "minor": 1.0}
_PRINCIPAL_MINIMUM, _PRINCIPAL_SHARE, _PRINCIPALS_NEEDED = 3, 0.02, 20
_GROUP_CAP = 2
_TENANT_SHARE = 0.5


class Selection(NamedTuple):
    """CORRECTION_BATCH rows without partition columns, and how many were passed over by which cap."""

    items: list[dict[str, Any]]
    passed_over: dict[str, int]


def select(
    failures: pl.DataFrame, traces: pl.DataFrame, *, groups: Mapping[str, str], toolsets: Mapping[str, str], earlier: pl.DataFrame,
    known_clusters: Collection[str], settings: Batch, week: str, carried_over: Collection[str] = (), asks: Sequence[Asked] = (),
) -> Selection:  # fmt: skip
    """Pick this week's items.

    Args:
        failures, traces: rows that may be picked: this week's, and late ones of earlier weeks.
        groups: trace id -> near-duplicate group.
        toolsets: tools_sha256 -> JSON text of the tools.
        earlier: CORRECTION_BATCH rows of earlier weeks: handed out, so never again, and counted by the caps.
        known_clusters: clusters of earlier weeks; others are novel and count double.
        week: seeds the random slice.
        carried_over: trace ids that an earlier batch could not finish; they come first. `earlier` must not hold them.
        asks: what the last verdict asked for; so many failures of each kind count double.
    """
    by_trace = {row["trace_id"]: row for row in traces.iter_rows(named=True)}
    handed_out = set(earlier["trace_id"])
    sizes = Counter(failures["failure_cluster"])
    budget = min(settings.max_items, int(settings.minutes // settings.minutes_per_item))
    handable = [row for row in failures.iter_rows(named=True) if row["fault"] in ("agent", "inconclusive")]
    priorities = {row["failure_id"]: _priority(row, sizes, known_clusters) for row in handable}
    handable.sort(key=lambda row: (-priorities[row["failure_id"]], row["failure_id"]))
    served = asked_for(handable, asks, groups, handed_out)
    priorities |= {failure_id: ASKED_WEIGHT * priorities[failure_id] for failure_id in served}
    ranked = sorted(
        handable,
        key=lambda row: (row["trace_id"] not in carried_over, -priorities[row["failure_id"]], row["failure_id"]),
    )
    caps = _Caps(groups, by_trace, earlier)
    flagged: list[dict[str, Any]] = []
    for failure in ranked:
        if failure["trace_id"] in handed_out or len(flagged) >= budget - settings.random_slice:
            caps.passed_over["handed_out" if failure["trace_id"] in handed_out else "budget"] += 1
        elif caps.admit(by_trace[failure["trace_id"]]):
            novelty = "new" if failure["failure_cluster"] not in known_clusters else "known"
            why = "carried over, " * (failure["trace_id"] in carried_over)
            why += f"{novelty} cluster of {sizes[failure['failure_cluster']]}, {failure['severity']}"
            if ask := served.get(failure["failure_id"]):
                why += f"; {ask.sentence()}"
            priority = priorities[failure["failure_id"]]
            flagged.append(_item(by_trace[failure["trace_id"]], groups, toolsets, failure, why, priority))
    unflagged = sorted(set(by_trace) - set(failures["trace_id"]) - set(handed_out))
    drawn = [key for key in unflagged if key in carried_over][: settings.random_slice]
    fresh = [key for key in unflagged if key not in carried_over]
    drawn += random.Random(week).sample(fresh, min(settings.random_slice - len(drawn), len(fresh)))
    sliced = [
        _item(by_trace[key], groups, toolsets, None, "random slice of runs triage did not flag", 0.0)
        for key in sorted(drawn)
    ]
    return Selection([*flagged, *sliced], dict(caps.passed_over))


def numbered(items: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """The items of a batch with their places and its version, and that version: a hash of what is in it."""
    version = sha256_of([(item["item_id"], item["trace_id"]) for item in items])[:16]
    return [{**item, "position": position, "batch_version": version} for position, item in enumerate(items)], version


def item_id(trace_id: str, run_sha256: str) -> str:
    """Id of the batch item that a run becomes: a run that says something else later is another item."""
    return sha256_of([trace_id, run_sha256])[:16]


class _Caps:
    """At most so many items a person, a tenant and a near-duplicate group; person and group over all batches together."""

    def __init__(self, groups: Mapping[str, str], traces: dict[str, dict[str, Any]], earlier: pl.DataFrame) -> None:
        self.groups = groups
        principals = {row["principal_ref"] for row in traces.values() if row["principal_ref"]}
        tenants = {row.get("tenant_id") for row in traces.values() if row.get("tenant_id")}
        share = math.floor(_PRINCIPAL_SHARE * (len(traces) + earlier.height))
        # With few principals the cap would empty the batch; a missing principal is not one principal (design.md 8.11).
        self.per_principal = max(_PRINCIPAL_MINIMUM, share) if len(principals) >= _PRINCIPALS_NEEDED else math.inf
        # One customer's traffic must not become everyone's model: half of a batch at most, where there are others.
        self.per_tenant = (
            max(_PRINCIPAL_MINIMUM, math.ceil(_TENANT_SHARE * len(traces))) if len(tenants) > 1 else math.inf
        )
        self.principals = Counter(ref for ref in earlier["principal_ref"] if ref)
        self.taken = Counter(earlier["near_duplicate_group"])
        self.tenants: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()

    def admit(self, trace: dict[str, Any]) -> bool:
        principal, near, tenant = trace["principal_ref"], self.groups[trace["trace_id"]], trace.get("tenant_id")
        if principal and self.principals[principal] >= self.per_principal:
            self.passed_over["principal_cap"] += 1
            return False
        if self.taken[near] >= _GROUP_CAP:
            self.passed_over["near_duplicate_cap"] += 1
            return False
        if tenant and self.tenants[tenant] >= self.per_tenant:
            self.passed_over["tenant_cap"] += 1
            return False
        self.tenants[tenant or ""] += 1
        self.principals[principal or ""] += 1
        self.taken[near] += 1
        return True


def _priority(failure: dict[str, Any], sizes: Counter[str], known: Collection[str]) -> float:
    novelty = 1.0 if failure["failure_cluster"] in known else 2.0
    return math.sqrt(sizes[failure["failure_cluster"]]) * _WEIGHT[failure["severity"]] * novelty


def _item(
    trace: dict[str, Any], groups: Mapping[str, str], toolsets: Mapping[str, str], failure: dict[str, Any] | None, why: str,
    priority: float,
) -> dict[str, Any]:  # fmt: skip
    messages = json.loads(trace["messages"])
    first = next(index for index, message in enumerate(messages) if message["role"] == "assistant")
    index = failure["message_index"] if failure else first
    return {
        "item_id": item_id(trace["trace_id"], trace["content_sha256"]),
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
        "tools": toolsets[trace["tools_sha256"]],
        "messages": canonical_json(messages),
    }
