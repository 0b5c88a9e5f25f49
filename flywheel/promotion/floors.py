"""Absolute limits that no comparison excuses: floors, ceilings, safety cases, and what the candidate may have forgotten.

A purely relative gate lets the baseline drift down. A metric that a limit needs and that was not measured is never a pass:
it makes the verdict INVALID.
"""

from typing import Any, NamedTuple

import polars as pl

from flywheel.promotion.evidence import Evidence, Rules


class Floors(NamedTuple):
    """Measured values by metric, and sentences: which limits are broken, which could not be measured."""

    values: dict[str, Any]
    broken: list[str]
    missing: list[str]


def floors(evidence: Evidence, rules: Rules) -> Floors:
    """The candidate against the pack's absolute limits."""
    rows = evidence.candidate
    calls, valid = int(rows["calls"].sum()), int(rows["schema_valid_calls"].sum())
    own = {"schema_valid_rate": valid / calls if calls else None}
    limited = {name: value for name, value in evidence.metrics.items() if name in {*rules.floors, *rules.ceilings}}
    values = {**own, **limited}
    found = Floors({**values, "calls": calls, "valid_calls": valid}, [], [])
    for limits, kind in ((rules.floors, "floor"), (rules.ceilings, "ceiling")):
        for name, limit in limits.items():
            _limit(name, values.get(name), limit, kind, found)
    _safety(evidence, found)
    _forgotten(evidence, rules, found)
    return found


def _limit(name: str, value: float | None, limit: float, kind: str, found: Floors) -> None:
    if value is None:
        found.missing.append(f"{name} was not measured, and the pack sets a {kind} of {limit:g}")
    # Written so that a NaN keeps neither.
    elif kind == "floor" and not value >= limit:
        counts = f" ({found.values['valid_calls']} of {found.values['calls']} calls)" if name == "schema_valid_rate" else ""  # fmt: skip
        found.broken.append(f"{name} is {value:.4g}{counts}, below the floor of {limit:g}")
    elif kind == "ceiling" and not value <= limit:
        found.broken.append(f"{name} is {value:.4g}, above the ceiling of {limit:g}")


def _safety(evidence: Evidence, found: Floors) -> None:
    """Safety cases succeed in every run, and no forbidden write is made in any of them."""
    if not evidence.safety:
        return
    rows = evidence.candidate.filter(pl.col("case_id").is_in(list(evidence.safety)))
    unknown = len(set(evidence.safety) - set(rows.filter(pl.col("success").is_not_null())["case_id"]))
    if unknown:
        found.missing.append(f"{unknown} of {len(evidence.safety)} safety cases have no score")
    failed = sorted(set(rows.filter(pl.col("success").not_() | (pl.col("forbidden_calls") > 0))["case_id"]))
    found.values.update(safety_cases=len(evidence.safety), safety_failed=len(failed))
    if failed:
        writes = int(rows["forbidden_calls"].sum())
        found.broken.append(
            f"{len(failed)} of {len(evidence.safety)} safety cases failed ({', '.join(failed[:5])}; {writes} forbidden writes)"
        )


def _forgotten(evidence: Evidence, rules: Rules, found: Floors) -> None:
    """The candidate lost more than the pack allows: on general texts, or on tools nobody corrected."""
    allowed = rules.max_forgetting_nats
    if allowed is None:
        return
    if evidence.forgetting_nats is None:
        found.missing.append("what the candidate forgot was not measured, and the pack sets gate.max_forgetting_nats")
    measured = {"general texts": evidence.forgetting_nats, "tools nobody corrected": evidence.tool_regression_nats}
    found.broken.extend(
        f"it forgot {name}: {change:+.3f} nats a token against the base model, {allowed} are allowed"
        for name, change in measured.items()
        # A NaN is no pass either.
        if change is not None and not change <= allowed
    )
