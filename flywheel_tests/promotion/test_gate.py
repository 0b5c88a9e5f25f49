"""The gate: promotes what is better, refuses what is worse, says when it cannot know, and never passes on a gap."""

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from flywheel.promotion.evidence import Evidence, Rules
from flywheel.promotion.gate import Decision, decide

RULES = Rules(margin=0.08, floors={"schema_valid_rate": 0.9})
CATEGORIES = ("tool_calling", "multi_step", "refusal", "recovery")


def arm(success: Sequence[bool | None], name: str = "candidate", **changes) -> pl.DataFrame:
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
    candidate: Sequence[bool | None], incumbent: Sequence[bool | None], *, targeted=(), rules: Rules = RULES, **changes
) -> Decision:
    old = arm(incumbent, "incumbent")
    return decide(Evidence(arm(candidate, **changes), old, old.head(20), set(targeted)), rules)


def rate(share: float, n: int = 240, seed: int = 0) -> list[bool | None]:
    return [random.Random(f"{seed}{i}").random() < share for i in range(n)]


def test_a_large_gain_is_promoted_with_its_numbers():
    decision = judge(rate(0.6), rate(0.05, seed=1))
    assert decision.verdict == "PROMOTE" and "better than the incumbent" in decision.reasons[0]
    assert decision.difference and decision.difference.lower > 0.4
    assert decision.difference.p_better is None, "cases share clusters: exact McNemar does not hold"
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


def test_a_tool_that_went_wrong_as_a_whole_is_refused_although_the_rest_gained_more():
    tools = {f"c{n:03d}": ["cancel_order"] if n < 24 else ["get_order"] for n in range(240)}
    incumbent = [n < 20 or n >= 150 for n in range(240)]
    candidate = [n >= 90 for n in range(240)]  # loses its 20 cancellations, gains 60 others
    old = arm(incumbent)
    evidence = Evidence(arm(candidate), old, old.head(20), set(), tools=tools)
    decision = decide(evidence, RULES)
    assert decision.verdict == "REJECT" and "tool cancel_order" in decision.reasons[0], decision.reasons
    assert decision.difference and decision.difference.lower > 0, "the whole got better"
    assert decide(evidence._replace(tools={}), RULES).verdict == "PROMOTE", "nothing else would have seen it"


def test_a_broken_floor_is_a_refusal_and_one_that_cannot_be_computed_makes_the_verdict_invalid():
    broken = judge(rate(0.6), rate(0.05, seed=1), schema_valid_calls=0)
    assert broken.verdict == "REJECT" and "below the floor" in broken.reasons[0]
    unknown = judge(rate(0.6), rate(0.05, seed=1), calls=0, schema_valid_calls=0)
    assert unknown.verdict == "INVALID" and "was not measured" in unknown.reasons[0]
    assert judge(rate(0.6), rate(0.05, seed=1), rules=Rules(0.08, {"made_up": 0.5})).verdict == "INVALID"


@pytest.mark.parametrize("column", ["benchmark_version", "scorer_version", "decoding"])
def test_arms_that_differ_in_what_judges_them_are_invalid(column: str):
    changes: dict[str, Any] = {column: "other"}
    assert judge(rate(0.6), rate(0.05, seed=1), **changes).verdict == "INVALID"


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
    assert decision.advisory and any("a person decides" in reason for reason in decision.reasons)


def test_epochs_are_averaged_a_case_before_anything_is_compared():
    """Twelve epochs of one model's twenty cases are twenty observations, not 240."""
    once = judge([True, *[False] * 119], [False] * 120)
    many = [pl.concat([part] * 12) for part in (arm([True, *[False] * 119]), arm([False] * 120, "incumbent"))]
    repeated = decide(Evidence(many[0], many[1], many[1], set()), RULES)
    assert repeated.difference == once.difference and repeated.difference and repeated.difference.n == 120
    half = arm([True] * 120).with_columns(success=pl.Series([n % 2 == 0 for n in range(120)]))
    mixed = decide(Evidence(pl.concat([arm([True] * 120), half]), many[1], many[1], set()), RULES)
    assert mixed.candidate and mixed.candidate.estimate == pytest.approx(0.75)


def test_every_verdict_says_cases_interval_margin_and_what_it_could_have_seen():
    same = rate(0.5)
    targeted = [f"c{n:03d}" for n in range(60)]
    decisions = [
        judge(rate(0.6), rate(0.05, seed=1)), judge(rate(0.05, seed=1), rate(0.6)), judge(same, same, targeted=targeted),
        judge(same, same, targeted=["c001"]), judge(rate(0.6), rate(0.05, seed=1), schema_valid_calls=0),
    ]  # fmt: skip
    for decision in decisions:
        text = " ".join(decision.reasons)
        assert "over 240 cases in 120 clusters" in text and "95 % interval" in text, text
        assert "margin 8.0 points" in text and "smallest difference these cases show" in text and "A/A run" in text, (
            text
        )


def test_the_default_margin_is_what_the_cases_resolve_and_an_unresolved_one_decides_nothing():
    same, default = rate(0.5), Rules(margin=None, floors={})
    decision = judge(same, same, targeted=["c001"], rules=default)
    assert (
        decision.verdict == "PROMOTE" and decision.margin and decision.margin.value == pytest.approx(0.0718, abs=1e-3)
    )
    tight = judge(same, same, targeted=["c001"], rules=Rules(margin=0.03))
    assert tight.verdict == "INCONCLUSIVE" and "cannot show non-inferiority within 3.0 points" in tight.reasons[0]
    assert any("resolve no less than 7.2 points" in reason for reason in tight.reasons)
    assert judge(rate(0.6), rate(0.05, seed=1), rules=Rules(margin=0.03)).verdict == "PROMOTE", "better needs no margin"
    few = judge(same[:120], same[:120], targeted=["c001"], rules=default)
    assert few.verdict == "INCONCLUSIVE" and few.margin and few.margin.value == 0.08, "8 points is the default's cap"


def test_an_incumbent_that_differs_from_itself_makes_everything_invalid():
    good, old = arm(rate(0.6)), arm(rate(0.5, seed=1), "incumbent")
    broken = old.head(60).with_columns(success=pl.lit(False))
    decision = decide(Evidence(good, old, broken, set()), RULES)
    assert decision.verdict == "INVALID" and "differs from itself" in decision.reasons[0]
    assert decision.noise and decision.noise.verdict == "REJECT" and decision.noise.cases == 60


def test_a_targeted_gain_needs_a_lower_bound_above_zero():
    incumbent = [n % 2 == 0 for n in range(240)]
    targeted = [f"c{n:03d}" for n in range(60)]
    few = [True if n in (1, 3, 5) else ok for n, ok in enumerate(incumbent)]
    many = [True if n in range(1, 24, 2) else ok for n, ok in enumerate(incumbent)]
    weak = judge(few, [*incumbent[:239], True], targeted=targeted)
    assert weak.verdict == "INCONCLUSIVE" and weak.details["targeted"]["difference"] > 0, weak.reasons
    spread = [False if n in (100, 120, 140, 160, 180, 200) else ok for n, ok in enumerate(many)]
    strong = judge(spread, incumbent, targeted=targeted)
    assert strong.verdict == "PROMOTE" and strong.details["path"] == "targeted", strong.reasons


def with_slice(candidate: Sequence[bool | None], incumbent: Sequence[bool | None], added: int, targeted=()) -> Decision:
    """Judge arms whose last `added` cases are of a slice that came later."""
    names = pl.Series(["core"] * (len(candidate) - added) + ["returns"] * added)
    old = arm(incumbent, "incumbent").with_columns(slice=names)
    return decide(Evidence(arm(candidate).with_columns(slice=names), old, old, set(targeted)), RULES)


def test_an_added_slice_is_scored_apart_and_can_stop_a_promotion_but_carries_none_by_luck():
    worse = with_slice([*rate(0.6), *[False] * 40], [*rate(0.05, seed=1), *[True] * 40], 40)
    assert worse.verdict == "REJECT" and "slice returns" in worse.reasons[0]
    assert worse.difference and worse.difference.n == 240, "the core decides"
    assert any("slice returns, scored apart: -100.0 points over 40 cases" in reason for reason in worse.reasons)
    same = rate(0.5)
    lucky = with_slice([*same, *[True] * 40], [*same, *[False] * 40], 40, {f"c{n:03d}" for n in range(60)})
    assert lucky.verdict == "INCONCLUSIVE", lucky.reasons


def test_a_tool_that_came_later_is_reason_enough_where_this_weeks_corrections_taught_it():
    """The core, frozen before the tool came, cannot show that it was learned."""
    same, taught = rate(0.5), {f"c{n:03d}" for n in range(240, 264)}
    learned = with_slice([*same, *[True] * 16, *[False] * 8], [*same, *[False] * 24], 24, taught)
    assert learned.verdict == "PROMOTE" and learned.details["path"] == "targeted", learned.reasons
    assert "targeted cases: +66.7 points over 24 cases" in learned.reasons[1]
    lost = with_slice([*rate(0.3), *[True] * 24], [*rate(0.5), *[False] * 24], 24, taught)
    assert lost.verdict == "REJECT", "what was learned pays for nothing that the core lost"


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
