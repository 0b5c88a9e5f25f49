"""What a verdict asks the next week for: the candidate's failed cases by bucket and tool, the remedy, and how many corrections.

The failed cases point people at work, and never train: only bucket and tool leave here. Selection gives production's failures of
that kind more weight (`flywheel.failures.asked`), and the weekly page prints the asks first.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.toolcalls.arguments import canonical_json

NO_TOOL = "no tool"
MEND_SCHEMA = "mend_schema"
Key = tuple[str, str]


class Asking(NamedTuple):
    """What decides an ask besides the results: remedies of a bucket, corrections wanted a failed case, this week's corrections, verdict."""

    remedies_of: Callable[[str], Sequence[str]]
    items_per_case: int
    corrections: pl.DataFrame
    verdict: str


def next_asks(results: pl.DataFrame, cases: Sequence[Case], asking: Asking) -> list[dict[str, Any]]:
    """NEXT_ASKS rows (without partition columns), most failed cases first; none for an INVALID verdict, which says nothing of the model.

    Args:
        results: EVAL_RESULTS rows of one week.
        cases: the frozen cases they were run on.

    The bucket is the one triage's taxonomy gave the failed run; without it, what the case exercises. A case counts once, failed
    when any of its repetitions failed; infrastructure errors are no failures of the model.
    """
    if asking.verdict == "INVALID":
        return []
    known = {case.id: case for case in cases}
    scored = results.filter(pl.col("success").is_not_null()).sort("case_id", "epoch")
    solved = scored.filter(arm="incumbent").group_by("case_id").agg(pl.col("success").all())
    before = dict(solved.select("case_id", "success").iter_rows())
    failed: dict[Key, dict[str, dict[str, Any]]] = defaultdict(dict)
    ran: dict[Key, set[str]] = defaultdict(set)
    for row in scored.filter(arm="candidate").iter_rows(named=True):
        case = known.get(row["case_id"])
        buckets, tool = _buckets(case), tool_of(case)
        for bucket in buckets:
            ran[bucket, tool].add(row["case_id"])
        if not row["success"]:
            key = (row.get("failure_bucket") or buckets[0], tool)
            ran[key].add(row["case_id"])
            failed[key].setdefault(row["case_id"], row)
    corrected = _corrected(asking.corrections)
    rows = [
        {
            "bucket": key[0], "tool": key[1], "failed": len(group), "cases": len(ran[key]),
            "regressed": sum(before.get(case_id, False) for case_id in group), "corrected": corrected[key],
            **_remedy(key[0], list(group.values()), asking), **_confused(key[1], list(group.values()), known),
            "example_case_id": min(group), "example_reason": group[min(group)]["failure_reason"] or "",
            "candidate_adapter_id": group[min(group)]["adapter_id"], "verdict": asking.verdict,
        }
        for key, group in failed.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row["failed"], row["bucket"], row["tool"]))


def tool_of(case: Case | None) -> str:
    """The tool a case is about: the first it names, else the first it expects to be called."""
    if case is None:
        return NO_TOOL
    expectation = case.expectation
    expected = (
        expectation.calls
        if expectation.kind == "call"
        else expectation.actions
        if expectation.kind == "episode"
        else []
    )
    return next(iter([*case.exercises.tools, *(call.name for call in expected)]), NO_TOOL)


def _buckets(case: Case | None) -> list[str]:
    return (case.exercises.buckets if case else []) or ["unknown bucket"]


def _remedy(bucket: str, failures: Sequence[Mapping[str, Any]], asking: Asking) -> dict[str, Any]:
    """No correction helps where the tool's schema accepts nothing; else so many for each failed case."""
    if all(row.get("failure_fault") == "environment" for row in failures):
        return {"remedy": MEND_SCHEMA, "items_wanted": 0}
    return {"remedy": "+".join(asking.remedies_of(bucket)), "items_wanted": asking.items_per_case * len(failures)}


def _confused(tool: str, failures: Sequence[Mapping[str, Any]], cases: Mapping[str, Case]) -> dict[str, Any]:
    """The other tools that the failed runs called."""
    called: set[str] = set()
    for row in failures:
        case = cases.get(row["case_id"])
        own = json.loads(row["transcript"] or "[]")[len(case.messages) if case else 0 :]
        called |= {call["function"]["name"] for message in own for call in message.get("tool_calls") or []}
    return {"confused_with": canonical_json(sorted(called - {tool}))}


def _corrected(corrections: pl.DataFrame) -> Counter[Key]:
    """Accepted corrections by bucket and tool of the corrected step."""
    counts: Counter[Key] = Counter()
    for row in corrections.iter_rows(named=True):
        messages = json.loads(row["messages"])
        step = messages[row["first_bad_message_index"]]
        names = {call["function"]["name"] for call in step.get("tool_calls") or []} or {NO_TOOL}
        counts.update({(row["bucket"], name): 1 for name in names})
    return counts
