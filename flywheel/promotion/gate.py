"""The gate: evaluation rows in, one decision with its reasons out. Pure; `promotion` and its check both call it.

Order of judgement (design.md 8.4): is the comparison valid; are the hard floors kept; is the candidate worse, better or
not inferior overall; did a category get worse; did the targeted cases gain. A missing metric is never a pass.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import polars as pl

from flywheel.statistics.paired import (
    Interval,
    PairedDifference,
    clustered_rate,
    holm,
    mcnemar_better,
    mcnemar_worse,
    minimum_detectable_effect,
    paired_difference,
)

Verdict = Literal["PROMOTE", "REJECT", "INCONCLUSIVE", "INVALID"]
CATEGORY_MINIMUM, CATEGORY_MARGIN = 30, 0.05
TARGETED_MINIMUM, TARGETED_CEILING = 20, 0.95
ADVISORY_BELOW, MAXIMUM_INFRA_SHARE = 100, 0.02


@dataclass(frozen=True)
class Rules:
    """The pack's part of the gate: non-inferiority margin (0 to 1), absolute floors by metric, and how much may be forgotten."""

    margin: float
    floors: dict[str, float] = field(default_factory=dict)
    max_forgetting_nats: float | None = None


class Evidence(NamedTuple):
    """What the gate judges: EVAL_RESULTS rows of each arm, the ids of this week's targeted cases, and what was forgotten.

    The last two are changes against the base model in nats a token, on general texts and on tools nobody corrected; the
    second is None where no accepted step calls such a tool.
    """

    candidate: pl.DataFrame
    incumbent: pl.DataFrame
    again: pl.DataFrame
    targeted: Collection[str]
    forgetting_nats: float | None = None
    tool_regression_nats: float | None = None


@dataclass(frozen=True)
class Decision:
    """Verdict, reasons (the decisive one first), and the numbers behind them."""

    verdict: Verdict
    reasons: list[str]
    candidate: Interval | None = None
    incumbent: Interval | None = None
    difference: PairedDifference | None = None
    p_value: float | None = None
    minimum_detectable_effect: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


def decide(evidence: Evidence, rules: Rules) -> Decision:
    """Judge a candidate against the incumbent on the same frozen cases."""
    invalid = _invalidity(evidence)
    if rules.max_forgetting_nats is not None and evidence.forgetting_nats is None:
        invalid.append("what the candidate forgot was not measured, and the pack sets gate.max_forgetting_nats")
    if invalid:
        return Decision("INVALID", invalid)
    pairs = _pairs(evidence)
    overall = paired_difference(
        pairs["candidate"].to_list(), pairs["incumbent"].to_list(), pairs["case_cluster"].to_list()
    )
    clusters = pairs["case_cluster"].to_list()
    candidate = clustered_rate(pairs["candidate"].to_list(), clusters)
    incumbent = clustered_rate(pairs["incumbent"].to_list(), clusters)
    effect = minimum_detectable_effect(overall.n, (overall.fixed + overall.broken) / overall.n)
    floors = _floors(evidence.candidate, rules)
    categories = _categories(pairs)
    targeted = _targeted(pairs, evidence.targeted)
    floors.broken.extend(_forgotten(evidence, rules))
    verdict, reasons = _verdict(overall, rules, floors, categories, targeted)
    if overall.n < ADVISORY_BELOW:
        reasons.append(f"advisory: {overall.n} cases are fewer than {ADVISORY_BELOW}; a person should look")
    details = {
        "floors": floors.values, "categories": categories, "targeted": targeted.details, "a_a": _noise(evidence),
        "fixed": overall.fixed, "broken": overall.broken, "clusters": overall.clusters,
        "advisory": overall.n < ADVISORY_BELOW, "forgetting_nats": evidence.forgetting_nats,
        "tool_regression_nats": evidence.tool_regression_nats,
    }  # fmt: skip
    p_value = mcnemar_better(overall.fixed, overall.broken)
    return Decision(verdict, reasons, candidate, incumbent, overall, p_value, effect, details)


def _invalidity(evidence: Evidence) -> list[str]:
    reasons: list[str] = []
    for name, rows in (("candidate", evidence.candidate), ("incumbent", evidence.incumbent)):
        if not rows.height:
            return [f"there are no results of the {name}"]
        errors = rows["infra_error"].count()
        if errors > MAXIMUM_INFRA_SHARE * rows.height:
            reasons.append(
                f"{errors} of {rows.height} cases of the {name} ended in a server or network error (allowed: 2 %)"
            )
        missing = rows.filter(pl.col("success").is_null() & pl.col("infra_error").is_null()).height
        if missing:
            reasons.append(f"{missing} of {rows.height} cases of the {name} have no score")
    if set(evidence.candidate["case_id"]) != set(evidence.incumbent["case_id"]):
        reasons.append("candidate and incumbent did not run the same cases")
    for column in ("benchmark_version", "scorer_version", "decoding"):
        values = set(evidence.candidate[column]) | set(evidence.incumbent[column])
        if len(values) != 1:
            reasons.append(f"the arms differ in {column}: {', '.join(sorted(values))}")
    if not evidence.again.height:
        reasons.append("the incumbent's A/A run is missing")
    return reasons


def _pairs(evidence: Evidence) -> pl.DataFrame:
    """One row a case both arms completed: case_id, case_cluster, category, candidate, incumbent (booleans)."""
    keys = ["case_id", "case_cluster", "category"]
    one = evidence.candidate.filter(pl.col("success").is_not_null()).select(*keys, pl.col("success").alias("candidate"))
    other = evidence.incumbent.filter(pl.col("success").is_not_null()).select(
        "case_id", pl.col("success").alias("incumbent")
    )
    return one.join(other, on="case_id").sort("case_id")


class _Floors(NamedTuple):
    values: dict[str, Any]
    broken: list[str]


def _floors(rows: pl.DataFrame, rules: Rules) -> _Floors:
    calls, valid = int(rows["calls"].sum()), int(rows["schema_valid_calls"].sum())
    rates = {"schema_valid_rate": valid / calls if calls else None}
    broken: list[str] = []
    for name, floor in rules.floors.items():
        rate = rates.get(name)
        if rate is None:
            broken.append(f"{name} cannot be computed ({calls} calls); the floor is {floor:.0%}")
        elif rate < floor:
            broken.append(f"{name} is {rate:.1%} ({valid} of {calls} calls), below the floor of {floor:.0%}")
    return _Floors({**rates, "calls": calls, "valid_calls": valid}, broken)


def _forgotten(evidence: Evidence, rules: Rules) -> list[str]:
    """The candidate lost more than the pack allows: on general texts, or on tools nobody corrected."""
    allowed = rules.max_forgetting_nats
    if allowed is None:
        return []
    measured = {"general texts": evidence.forgetting_nats, "tools nobody corrected": evidence.tool_regression_nats}
    return [
        f"it forgot {name}: {change:+.3f} nats a token against the base model, {allowed} are allowed"
        for name, change in measured.items()
        # A NaN is no pass either.
        if change is not None and not change <= allowed
    ]


def _categories(pairs: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Per category: n, both rates, fixed, broken, Holm-adjusted p(worse); `worse` where it is gated and failed."""
    found: dict[str, dict[str, Any]] = {}
    for (name,), part in sorted(pairs.group_by("category"), key=lambda item: str(item[0])):
        fixed = part.filter(pl.col("candidate") & ~pl.col("incumbent")).height
        broken = part.filter(~pl.col("candidate") & pl.col("incumbent")).height
        found[str(name)] = {
            "n": part.height, "candidate": part["candidate"].mean(), "incumbent": part["incumbent"].mean(),
            "fixed": fixed, "broken": broken, "p_worse": mcnemar_worse(fixed, broken), "worse": False,
        }  # fmt: skip
    gated = [name for name, values in found.items() if values["n"] >= CATEGORY_MINIMUM]
    for name, adjusted in zip(gated, holm([found[name]["p_worse"] for name in gated]), strict=True):
        values = found[name]
        drop = (values["broken"] - values["fixed"]) / values["n"]
        values.update(p_worse_adjusted=adjusted, worse=adjusted < 0.05 and drop > CATEGORY_MARGIN)
    return found


class _Targeted(NamedTuple):
    gained: bool
    reason: str
    details: dict[str, Any]


def _targeted(pairs: pl.DataFrame, ids: Collection[str]) -> _Targeted:
    """Did the cases this week's corrections were made for gain? Too few, or a ceiling, are excused and said so."""
    part = pairs.filter(pl.col("case_id").is_in(list(ids)))
    if part.height < TARGETED_MINIMUM:
        reason = f"only {part.height} targeted cases (fewer than {TARGETED_MINIMUM}): non-inferiority suffices"
        return _Targeted(True, reason, {"n": part.height})
    rate = part["incumbent"].cast(pl.Float64).mean()
    if isinstance(rate, float) and rate >= TARGETED_CEILING:
        reason = f"the incumbent solves {rate:.0%} of {part.height} targeted cases: non-inferiority suffices"
        return _Targeted(True, reason, {"n": part.height, "incumbent": rate})
    gain = paired_difference(part["candidate"].to_list(), part["incumbent"].to_list(), part["case_cluster"].to_list())
    reason = f"targeted cases: {gain.mean:+.1%} (lower bound {gain.lower:+.1%}, n = {gain.n})"
    return _Targeted(gain.lower > 0, reason, {"n": gain.n, "difference": gain.mean, "lower": gain.lower})


def _verdict(
    overall: PairedDifference, rules: Rules, floors: _Floors, categories: dict[str, dict[str, Any]], targeted: _Targeted
) -> tuple[Verdict, list[str]]:
    numbers = (
        f"{overall.mean:+.1%} over {overall.n} cases in {overall.clusters} clusters "
        f"(one-sided 95 % bounds {overall.lower:+.1%} to {overall.upper:+.1%}; {overall.fixed} fixed, {overall.broken} broken)"
    )
    worse = [
        f"{name}: {v['broken']} broken, {v['fixed']} fixed of {v['n']}" for name, v in categories.items() if v["worse"]
    ]
    if floors.broken:
        return "REJECT", [*floors.broken, f"overall {numbers}"]
    if overall.upper < 0:
        return "REJECT", [f"worse than the incumbent: {numbers}"]
    if worse:
        return "REJECT", [f"category got worse: {'; '.join(worse)}", f"overall {numbers}"]
    if overall.lower > 0:
        return "PROMOTE", [f"better than the incumbent: {numbers}", targeted.reason]
    if overall.lower > -rules.margin and targeted.gained:
        return "PROMOTE", [f"not inferior within {rules.margin:.0%}: {numbers}", targeted.reason]
    if overall.lower > -rules.margin:
        return "INCONCLUSIVE", [
            f"not inferior within {rules.margin:.0%}, but no targeted gain: {numbers}",
            targeted.reason,
        ]
    return "INCONCLUSIVE", [f"neither better nor not inferior within {rules.margin:.0%}: {numbers}", targeted.reason]


def _noise(evidence: Evidence) -> dict[str, Any]:
    """The A/A run: cases whose outcome flipped between two runs of the incumbent, the floor of what can be seen."""
    first = evidence.incumbent.select("case_id", pl.col("success").alias("first"))
    both = evidence.again.select("case_id", pl.col("success").alias("second")).join(first, on="case_id")
    return {"n": both.height, "flipped": both.filter(pl.col("first") != pl.col("second")).height}
