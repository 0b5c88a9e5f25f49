"""From evaluation tables to one `promotion` row: targeted cases, the gate, and what serves afterwards."""

import json
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.promotion.gate import Decision, Evidence, Rules, decide
from flywheel.promotion.pointer import BASE
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Pack

ARMS = ("candidate", "incumbent", "incumbent_again")


class Judgement(NamedTuple):
    """A decision and whom it concerns."""

    decision: Decision
    candidate_adapter_id: str
    incumbent_adapter_id: str
    benchmark_version: str


def targeted_cases(cases: list[Case], corrections: pl.DataFrame) -> set[str]:
    """Ids of the cases that exercise a failure bucket and a tool which this week's corrections touched."""
    buckets = set(corrections["bucket"])
    tools = {name for messages, indices in zip(corrections["messages"], corrections["trainable_indices"], strict=True)
             for name in _tools_called(json.loads(messages), json.loads(indices))}  # fmt: skip
    return {
        case.id for case in cases
        if buckets & set(case.exercises.buckets) and (not case.exercises.tools or tools & set(case.exercises.tools))
    }  # fmt: skip


def _tools_called(messages: list[dict[str, Any]], indices: list[int]) -> set[str]:
    return {call["function"]["name"] for index in indices for call in messages[index].get("tool_calls") or []}


def judge(
    results: pl.DataFrame, cases: list[Case], corrections: pl.DataFrame, checkpoint: pl.DataFrame, pack: Pack, *,
    incumbent: str,
) -> Judgement:  # fmt: skip
    """Recompute the decision from the tables; a week that trained nothing is inconclusive by definition."""
    if not results.height:
        reason = f"banked: nothing was trained this week (the checkpoint says why); {incumbent} is carried forward"
        decision = Decision("INCONCLUSIVE", [reason])
        return Judgement(decision, incumbent, incumbent, "")
    arms = [results.filter(arm=arm) for arm in ARMS]
    gate = pack.settings.gate
    forgotten = (
        checkpoint.select("forgetting_nats", "tool_regression_nats").row(0) if checkpoint.height else (None, None)
    )
    evidence = Evidence(arms[0], arms[1], arms[2], targeted_cases(cases, corrections), *forgotten)
    decision = decide(evidence, Rules(gate.margin, gate.floors, gate.max_forgetting_nats))
    names = [arm["adapter_id"][0] if arm.height else BASE for arm in arms[:2]]
    return Judgement(decision, names[0], names[1], results["benchmark_version"][0])


def promotion_row(judgement: Judgement, pack: Pack, *, served: str, qa_mode: str) -> dict[str, Any]:
    """PROMOTION row without partition columns."""
    decision = judgement.decision
    difference = decision.difference
    row: dict[str, Any] = {
        "verdict": decision.verdict,
        "reasons": canonical_json(decision.reasons),
        "candidate_adapter_id": judgement.candidate_adapter_id,
        "incumbent_adapter_id": judgement.incumbent_adapter_id,
        "served_adapter_id": served,
        "cases": difference.n if difference else 0,
        **_interval("candidate", decision.candidate),
        **_interval("incumbent", decision.incumbent),
        "difference": difference.mean if difference else None,
        "difference_lower": difference.lower if difference else None,
        "difference_upper": difference.upper if difference else None,
        "p_value": decision.p_value,
        "margin": pack.settings.gate.margin,
        "minimum_detectable_effect": decision.minimum_detectable_effect,
        "qa_mode": qa_mode,
        "release": pack.settings.release,
        "benchmark_version": judgement.benchmark_version,
        "evidence": canonical_json(decision.details),
    }
    return {"decision_id": sha256_of(row)[:16], **row}


def _interval(name: str, interval: Any) -> dict[str, float | None]:
    values = interval[:3] if interval else (None, None, None)
    return dict(zip((f"{name}_success", f"{name}_low", f"{name}_high"), values, strict=True))
