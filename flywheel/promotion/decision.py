"""From evaluation tables to one `promotion` row: targeted cases, the gate, and what serves afterwards."""

import json
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import SAFETY, Case, benchmark_version, core_of
from flywheel.promotion.best import Best, against_best, stored_runs
from flywheel.promotion.earlier import Earlier
from flywheel.promotion.evidence import Evidence, Rules, due_runs
from flywheel.promotion.gate import Decision, decide
from flywheel.promotion.history import Past, fixed_margin, last_noise, same_core
from flywheel.promotion.pointer import BASE
from flywheel.promotion.validity import endpoint_sentence
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Pack

ARMS = ("candidate", "incumbent", "incumbent_again")


class Judgement(NamedTuple):
    """A decision, whom it concerns and what it was made with; `stopped_at` is the stage that could not be run on this machine."""

    decision: Decision
    candidate_adapter_id: str
    incumbent_adapter_id: str
    benchmark_version: str
    core_version: str = ""
    scorer_version: str = ""
    decoding: str = ""
    week: str = ""
    stopped_at: str | None = None


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
    incumbent: str, before: Earlier | None = None,
) -> Judgement:  # fmt: skip
    """Recompute the decision from the tables; a week that trained nothing is inconclusive by definition.

    `cases` are those that were evaluated (`freeze.evaluated`). `before` is what earlier weeks left; without it the margin is not fixed yet
    and there is no best adapter to hold against.
    """
    week = before.week if before else ""
    if not results.height:
        return Judgement(_without_results(checkpoint, incumbent), incumbent, incumbent, "", week=week)
    candidate, current, again = (results.filter(arm=arm) for arm in ARMS)
    forgotten = (
        checkpoint.select("forgetting_nats", "tool_regression_nats").row(0) if checkpoint.height else (None, None)
    )
    version, scorer, decoding = results.select("benchmark_version", "scorer_version", "decoding").row(0)
    core = core_version(cases, pack, version)
    evidence = Evidence(
        candidate, current, again, targeted_cases(cases, corrections), forgotten[0], forgotten[1],
        before.metrics if before else {}, {case.id for case in cases if SAFETY in case.tags},
        {case.id: case.exercises.tools for case in cases},
        _past(before, version, core, incumbent, scorer, decoding) if before else None,
        due=due_runs(cases, results) if benchmark_version(cases, pack.contract_sha256) == version else None,
    )  # fmt: skip
    names = [arm["adapter_id"][0] if arm.height else BASE for arm in (candidate, current)]
    decision = decide(evidence, rules_of(pack))
    if about := endpoint_sentence(current):
        decision = replace(decision, reasons=[*decision.reasons, about])
    return Judgement(decision, names[0], names[1], version, core, scorer, decoding, week)


def _past(before: Earlier, version: str, core: str, incumbent: str, scorer: str, decoding: str) -> Past:
    judged = same_core(before.history, core)
    looks = judged.height + before.comparisons.count(version)

    def best(pairs: pl.DataFrame, margin: float) -> Best:
        return against_best(
            pairs, stored_runs(judged, before.promoted), before.results_of, incumbent=incumbent, margin=margin,
            scorer_version=scorer, decoding=decoding,
        )  # fmt: skip

    noise = last_noise(judged, week=before.week, incumbent=incumbent, scorer_version=scorer, decoding=decoding)
    return Past(looks, fixed_margin(judged), noise, best)


def _without_results(checkpoint: pl.DataFrame, incumbent: str) -> Decision:
    """Nothing was trained, or something was and the benchmark had nothing to judge it by."""
    if checkpoint.height:
        return Decision(
            "INVALID", ["a checkpoint was trained and nothing was evaluated: the benchmark is empty, or no case is active"]
        )  # fmt: skip
    reason = f"banked: nothing was trained this week (the checkpoint says why); {incumbent} is carried forward"
    return Decision("INCONCLUSIVE", [reason])


def rules_of(pack: Pack) -> Rules:
    """The pack's settings of the gate."""
    gate = pack.settings.gate
    return Rules(gate.margin, gate.floors, gate.max_forgetting_nats, gate.discordance, gate.ceilings, gate.looks)


def core_version(cases: list[Case], pack: Pack, evaluated: str) -> str:
    """Hash of the core's cases and their tools; the benchmark version itself where the cases are not those evaluated."""
    if benchmark_version(cases, pack.contract_sha256) != evaluated:
        return evaluated
    return benchmark_version(core_of(cases), pack.contract_sha256)


def what_decides(pack: Pack, incumbent: str, before: Earlier) -> dict[str, Any]:
    """The settings and the past that a decision rests on besides its input tables."""
    settings = pack.settings
    gate = settings.gate.model_dump()
    return {"gate": gate, "release": settings.release, "incumbent": incumbent, "earlier": before.fingerprint()}


def releases_itself(decision: Decision, pack: Pack) -> bool:
    """Whether the pointer may move without a person: a PROMOTE on enough cases, in a pack that says so."""
    return decision.verdict == "PROMOTE" and not decision.advisory and pack.settings.release == "automatic"


def stopped(incumbent: str, stage: str, says: str, week: str) -> Judgement:
    """The judgement of a week that could not be trained or evaluated on this machine: nothing is decided, what serves stays.

    Args:
        stage: what could not be run here; `says`: why, and what to do.
    """
    reasons = [says, f"nothing is decided yet; {incumbent} goes on serving"]
    return Judgement(Decision("INCONCLUSIVE", reasons), incumbent, incumbent, "", week=week, stopped_at=stage)


def withheld(judgement: Judgement, reasons: list[str]) -> Judgement:
    """The judgement while people have yet to confirm the scores it rests on: INVALID, and the reasons; the figures stay.

    What the gate would say is left out, so that nobody reviews towards it.
    """
    if not reasons:
        return judgement
    return judgement._replace(decision=replace(judgement.decision, verdict="INVALID", reasons=reasons))


def promotion_row(judgement: Judgement, pack: Pack, *, served: str, qa_mode: str) -> dict[str, Any]:
    """PROMOTION row without partition columns."""
    decision = judgement.decision
    difference = decision.difference
    row: dict[str, Any] = {
        "stopped_at": judgement.stopped_at,
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
        "p_value": difference.p_better if difference else None,
        "margin": decision.margin.value if decision.margin else None,
        "minimum_detectable_effect": decision.minimum_detectable_effect,
        "qa_mode": qa_mode,
        "release": pack.settings.release,
        "benchmark_version": judgement.benchmark_version,
        "core_version": judgement.core_version,
        "scorer_version": judgement.scorer_version,
        "decoding": judgement.decoding,
        "advisory": decision.advisory,
        "looks": decision.details.get("looks"),
        **_noise(decision, judgement.week),
        **_best(decision),
        "evidence": canonical_json(decision.details),
    }
    return {"decision_id": sha256_of(row)[:16], **row}


def _noise(decision: Decision, week: str) -> dict[str, Any]:
    noise = decision.noise
    if noise is None:
        names = ("cases", "flipped", "difference", "lower", "upper", "verdict", "week")
        return {f"a_a_{name}": None for name in names}
    return {f"a_a_{name}": value for name, value in noise._replace(week=noise.week or week)._asdict().items()}


def _best(decision: Decision) -> dict[str, Any]:
    best = decision.best
    gap = best.difference if best else None
    return {
        "best_adapter_id": best.adapter_id if best else None,
        "best_difference": gap.mean if gap else None,
        "best_lower": gap.lower if gap else None,
    }


def _interval(name: str, interval: Any) -> dict[str, float | None]:
    values = interval[:3] if interval else (None, None, None)
    return dict(zip((f"{name}_success", f"{name}_low", f"{name}_high"), values, strict=True))
