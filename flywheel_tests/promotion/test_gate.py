"""The gate: promotes what is better, refuses what is worse, says when it cannot know, and never passes on a gap."""

import random

import polars as pl
import pytest

from flywheel.promotion.gate import Decision, Evidence, Rules, decide

RULES = Rules(margin=0.08, floors={"schema_valid_rate": 0.9})
CATEGORIES = ("tool_calling", "multi_step", "refusal", "recovery")


def arm(success: list[bool | None], name: str = "candidate", **changes) -> pl.DataFrame:
    rows = [
        {
            "case_id": f"c{n:03d}", "case_cluster": f"k{n // 2}", "category": CATEGORIES[n % 4], "arm": name, "success": ok, "calls": 1,
            "schema_valid_calls": 1, "infra_error": None, "benchmark_version": "b", "scorer_version": "1", "decoding": "greedy",
            **changes,
        }
        for n, ok in enumerate(success)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"infra_error": pl.String, "success": pl.Boolean})


def judge(
    candidate: list[bool | None], incumbent: list[bool | None], *, targeted=(), rules: Rules = RULES, **changes
) -> Decision:
    old = arm(incumbent, "incumbent")
    return decide(Evidence(arm(candidate, **changes), old, old.head(20), set(targeted)), rules)


def rate(share: float, n: int = 240, seed: int = 0) -> list[bool | None]:
    return [random.Random(f"{seed}{i}").random() < share for i in range(n)]


def test_a_large_gain_is_promoted_with_its_numbers():
    decision = judge(rate(0.6), rate(0.05, seed=1))
    assert decision.verdict == "PROMOTE" and "better than the incumbent" in decision.reasons[0]
    assert (
        decision.difference
        and decision.difference.lower > 0.4
        and decision.p_value is not None
        and decision.p_value < 1e-9
    )
    assert decision.candidate and decision.candidate.low < decision.candidate.estimate < decision.candidate.high


def test_a_large_loss_is_rejected_and_no_change_is_no_promotion():
    assert judge(rate(0.05, seed=1), rate(0.6)).verdict == "REJECT"
    same = rate(0.5)
    targeted = [f"c{n:03d}" for n in range(60)]
    assert judge(same, same, targeted=targeted).verdict == "INCONCLUSIVE"


def test_not_inferior_suffices_where_few_cases_are_targeted_and_it_says_so():
    same = rate(0.5)
    decision = judge(same, same, targeted=["c001"])
    assert decision.verdict == "PROMOTE" and any("only 1 targeted cases" in reason for reason in decision.reasons)


def test_a_category_that_got_worse_is_refused_although_the_whole_got_better():
    incumbent = [n % 4 == 2 for n in range(240)]
    candidate = [n % 4 != 2 for n in range(240)]
    decision = judge(candidate, incumbent)
    assert decision.verdict == "REJECT" and "refusal" in decision.reasons[0]


def test_a_broken_floor_and_a_floor_that_cannot_be_computed_are_refusals():
    broken = judge(rate(0.6), rate(0.05, seed=1), schema_valid_calls=0)
    assert broken.verdict == "REJECT" and "below the floor" in broken.reasons[0]
    unknown = judge(rate(0.6), rate(0.05, seed=1), calls=0, schema_valid_calls=0)
    assert unknown.verdict == "REJECT" and "cannot be computed" in unknown.reasons[0]
    assert judge(rate(0.6), rate(0.05, seed=1), rules=Rules(0.08, {"made_up": 0.5})).verdict == "REJECT"


@pytest.mark.parametrize("column", ["benchmark_version", "scorer_version", "decoding"])
def test_arms_that_differ_in_what_judges_them_are_invalid(column: str):
    assert judge(rate(0.6), rate(0.05, seed=1), **{column: "other"}).verdict == "INVALID"


def test_missing_scores_missing_cases_and_broken_runs_are_invalid():
    good, old = rate(0.6), arm(rate(0.05, seed=1), "incumbent")
    assert judge([None, *good[1:]], rate(0.05, seed=1)).verdict == "INVALID"
    assert decide(Evidence(arm(good).head(239), old, old.head(9), set()), RULES).verdict == "INVALID"
    assert decide(Evidence(arm(good).clear(), old, old.head(9), set()), RULES).verdict == "INVALID"
    assert decide(Evidence(arm(good), old, old.clear(), set()), RULES).verdict == "INVALID"
    errors = arm(good).with_columns(infra_error=pl.lit("HTTP 500"), success=pl.lit(None, pl.Boolean))
    assert "network error" in decide(Evidence(errors, old, old.head(9), set()), RULES).reasons[0]


def test_few_cases_are_advisory():
    decision = judge(rate(0.9, 40), rate(0.1, 40, seed=1))
    assert decision.details["advisory"] and any("a person should look" in reason for reason in decision.reasons)


def test_equal_arms_are_hardly_ever_called_better():
    wrong = sum(
        judge(rate(0.5, 120, seed), rate(0.5, 120, seed + 10_000), targeted=[f"c{n:03d}" for n in range(120)]).verdict
        == "PROMOTE"
        for seed in range(60)
    )
    assert wrong <= 9, f"{wrong} of 60 equal pairs were promoted; 5 % are expected"


def forgot(general: float | None, tools: float | None = None, allowed: float | None = 0.2) -> Decision:
    candidate, incumbent = arm(rate(0.6)), arm(rate(0.05, seed=1), "incumbent")
    evidence = Evidence(candidate, incumbent, incumbent.head(20), set(), general, tools)
    return decide(evidence, Rules(0.08, {"schema_valid_rate": 0.9}, allowed))


def test_a_candidate_that_forgot_more_than_the_pack_allows_is_refused_and_it_says_what():
    assert forgot(0.1, -0.4).verdict == "PROMOTE" and forgot(0.1).details["forgetting_nats"] == 0.1
    general = forgot(0.35)
    assert general.verdict == "REJECT" and "forgot general texts: +0.350 nats" in general.reasons[0]
    tools = forgot(0.1, 0.5)
    assert tools.verdict == "REJECT" and "forgot tools nobody corrected: +0.500" in tools.reasons[0]
    assert forgot(float("nan")).verdict == "REJECT"
    assert forgot(5.0, allowed=None).verdict == "PROMOTE", "measured and shown, not judged"


def test_forgetting_that_was_not_measured_is_invalid_where_the_pack_asks_for_it():
    assert forgot(None).verdict == "INVALID" and "was not measured" in forgot(None).reasons[0]
    assert forgot(None, allowed=None).verdict == "PROMOTE"
