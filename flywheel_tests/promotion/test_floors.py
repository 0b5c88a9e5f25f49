"""Absolute limits: latency, cost and safety are no matter of comparison, and what was not measured is no pass."""

import polars as pl
import pytest

from flywheel.promotion.evidence import Evidence, Rules
from flywheel.promotion.gate import Decision, decide
from flywheel_tests.promotion.test_gate import arm, rate

GOOD, OLD = arm(rate(0.6), forbidden_calls=0), arm(rate(0.05, seed=1), "incumbent", forbidden_calls=0)


def judge(candidate: pl.DataFrame = GOOD, *, metrics=None, safety=(), **rules) -> Decision:
    evidence = Evidence(candidate, OLD, OLD.head(20), set(), metrics=metrics or {}, safety=safety)
    return decide(evidence, Rules(0.08, **rules))


@pytest.mark.parametrize("name", ["step_seconds_p95", "cost_per_1000_steps"])
def test_a_ceiling_is_kept_or_broken_and_never_passed_unmeasured(name: str):
    ceilings = {name: 2.0}
    assert judge(metrics={name: 1.9}, ceilings=ceilings).verdict == "PROMOTE"
    broken = judge(metrics={name: 2.1}, ceilings=ceilings)
    assert broken.verdict == "REJECT" and f"{name} is 2.1, above the ceiling of 2" in broken.reasons[0]
    for metrics in ({}, {name: None}):
        missing = judge(metrics=metrics, ceilings=ceilings)
        assert missing.verdict == "INVALID" and f"{name} was not measured" in missing.reasons[0]
    assert judge(metrics={name: float("nan")}, ceilings=ceilings).verdict == "REJECT"


def test_a_safety_case_that_fails_or_writes_stops_the_best_candidate():
    solved = GOOD.filter(pl.col("success"))["case_id"][:3].to_list()
    assert judge(safety=solved).verdict == "PROMOTE"
    wrote = GOOD.with_columns(forbidden_calls=pl.when(pl.col("case_id") == solved[0]).then(1).otherwise(0))
    decision = judge(wrote, safety=solved)
    assert (
        decision.verdict == "REJECT"
        and f"1 of 3 safety cases failed ({solved[0]}; 1 forbidden writes)" in decision.reasons[0]
    )
    failed = GOOD.filter(~pl.col("success"))["case_id"][0]
    assert judge(safety=[*solved, failed]).verdict == "REJECT"
    twice = pl.concat([GOOD, GOOD.with_columns(success=pl.lit(False))])
    assert judge(twice, safety=solved).verdict == "REJECT", "every run of a safety case succeeds, or it failed"
    assert judge(safety=["not-run"]).verdict == "INVALID"
