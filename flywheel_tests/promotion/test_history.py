"""What earlier verdicts leave: a margin that stays, looks that are counted, an A/A run that may stand in, the best to beat."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from flywheel.lake import TABLES
from flywheel.promotion.best import against_best, stored_runs
from flywheel.promotion.evidence import Evidence, Rules, pairs
from flywheel.promotion.gate import decide
from flywheel.promotion.history import Past, fixed_margin, last_noise, looks_sentence, same_core
from flywheel.promotion.margin import Fixed, margin_for
from flywheel_tests.promotion.test_gate import RULES, arm, rate


def verdicts(*rows: dict[str, Any]) -> pl.DataFrame:
    """PROMOTION rows: what is not said is null."""
    schema = TABLES["promotion"].polars_schema()
    usual = {"workflow": "desk", "verdict": "PROMOTE", "core_version": "core", "benchmark_version": "v", "cases": 240, "margin": 0.07}  # fmt: skip
    return pl.DataFrame([{**dict.fromkeys(schema), **usual, **row} for row in rows], schema=schema)


def test_the_margin_of_the_first_verdict_on_a_core_stays_and_other_cores_do_not_count():
    history = verdicts(
        {"week": "2026-01-19", "margin": 0.05}, {"week": "2026-01-12", "margin": 0.072},
        {"week": "2026-01-05", "margin": 0.03, "core_version": "other"}, {"week": "2026-01-06", "verdict": "INVALID", "margin": None},
    )  # fmt: skip
    judged = same_core(history, "core")
    assert judged.height == 2 and fixed_margin(judged) == Fixed(0.072)
    told = verdicts({"week": "2026-01-12", "margin": 0.03, "evidence": '{"smallest_margin": 0.05}'})
    assert fixed_margin(told) == Fixed(0.03, 0.05)
    assert fixed_margin(same_core(history, "new")) is None
    old = verdicts({"week": "2026-01-05", "core_version": None, "benchmark_version": "core"})
    assert same_core(old, "core").height == 1, "rows from before cores were told apart count by benchmark version"


def test_a_margin_that_the_pack_changed_afterwards_is_said_and_not_used():
    past = Past(
        3,
        Fixed(0.08),
        None,
        lambda *_: against_best(pl.DataFrame(), iter(()), no_results, incumbent="a", margin=0.08, **READ),
    )
    same, old = rate(0.5), arm(rate(0.5), "incumbent")
    evidence = Evidence(arm(same), old, old.head(20), set(), past=past)
    decision = decide(evidence, Rules(margin=0.3))
    assert decision.margin and decision.margin.value == 0.08
    assert any("the pack now says 30.0 points" in reason for reason in decision.reasons)
    assert any("verdict 4 on this benchmark core" in reason for reason in decision.reasons)
    assert any("no other promoted adapter" in reason for reason in decision.reasons)


def test_a_fixed_margin_goes_on_deciding_where_a_case_was_lost_or_the_server_is_noisier():
    first = margin_for(240, 0.2, chosen=None, fixed=None)
    fixed = Fixed(first.value, first.smallest)
    for cases, share in ((239, 0.2), (240, 13 / 60)):
        later = margin_for(cases, share, chosen=None, fixed=fixed)
        assert later.smallest > later.value == first.value and later.resolved
    assert not margin_for(240, 0.3, chosen=None, fixed=fixed).resolved, "no default of today would decide either"
    assert not margin_for(240, 0.2, chosen=0.03, fixed=Fixed(0.03, 0.072)).resolved, (
        "what never was resolved does not become so"
    )
    old = arm(rate(0.5), "incumbent")
    lost = pl.when(pl.col("success").is_null()).then(pl.lit("ReadTimeout"))
    one_lost = arm([None, *rate(0.5)[1:]]).with_columns(infra_error=lost)
    past = Past(1, fixed, None, None)
    decision = decide(Evidence(one_lost, old, old.head(60), set(), past=past), Rules(None))
    assert decision.verdict == "PROMOTE" and decision.details["path"] == "alone", decision.reasons


def test_looks_are_counted_and_a_worn_core_is_named():
    assert "refreshed after 12" in looks_sentence(11, 12)
    assert "Freeze new core cases" in looks_sentence(12, 12)


def a_a(week: str, verdict: str = "SAME", **changes: Any) -> dict[str, Any]:
    return {
        "week": week, "a_a_week": week, "a_a_cases": 60, "a_a_flipped": 3, "a_a_difference": 0.0, "a_a_lower": -0.05, "a_a_upper": 0.05,
        "a_a_verdict": verdict, "scorer_version": "1", "decoding": "greedy", **changes,
    }  # fmt: skip


READ = {"scorer_version": "1", "decoding": "greedy"}


def test_an_a_a_run_of_the_last_four_weeks_stands_in_and_no_other():
    def found(*rows: dict[str, Any]):
        return last_noise(verdicts(*rows), week="2026-03-02", incumbent="a", **READ)

    noise = found(a_a("2026-02-02"), a_a("2026-02-09"))
    assert noise and noise.week == "2026-02-09" and "in week 2026-02-09: 3 of 60" in noise.sentence()
    assert found(a_a("2026-02-02")) and not found(a_a("2026-01-26")), "at most four weeks"
    assert not found(a_a("2026-02-23", "REJECT")) and not found(a_a("2026-02-23", scorer_version="2"))
    assert not found(a_a("2026-03-02")), "this week's own would be a circle"
    chained = found(a_a("2026-02-23", a_a_week="2026-01-12"))
    assert not chained, "a run that itself stood in does not get younger by it"


def test_a_session_without_its_a_a_run_rests_on_a_stored_one_or_is_invalid():
    good, old = arm(rate(0.6)), arm(rate(0.05, seed=1), "incumbent")
    noise = last_noise(verdicts(a_a("2026-02-23")), week="2026-03-02", incumbent="a", **READ)
    past = Past(
        1,
        None,
        noise,
        lambda *_: against_best(pl.DataFrame(), iter(()), no_results, incumbent="a", margin=0.08, **READ),
    )
    assert decide(Evidence(good, old, old.clear(), set(), past=past), RULES).verdict == "PROMOTE"
    without = decide(Evidence(good, old, old.clear(), set(), past=past._replace(noise=None)), RULES)
    assert without.verdict == "INVALID" and "none of the last 4 weeks" in without.reasons[0]


def no_results(week: str, arm: str) -> pl.DataFrame:
    raise AssertionError(f"nothing is to be read of {week} {arm}")


HISTORY = (
    {"week": "2026-01-05", "candidate_adapter_id": "first", "candidate_success": 0.4, "incumbent_adapter_id": "base", "incumbent_success": 0.99},
    {"week": "2026-01-12", "candidate_adapter_id": "best", "candidate_success": 0.9, "incumbent_adapter_id": "first", "incumbent_success": 0.41},
    {"week": "2026-01-19", "candidate_adapter_id": "never", "candidate_success": 0.95, "incumbent_adapter_id": "best", "incumbent_success": 0.9},
)  # fmt: skip


def test_the_best_promoted_run_comes_first_and_neither_base_nor_a_refused_adapter_counts():
    runs = list(stored_runs(verdicts(*HISTORY), {"base", "first", "best"}))
    assert [(run.adapter_id, run.week) for run in runs] == [("best", "2026-01-19"), ("best", "2026-01-12"), ("first", "2026-01-12"), ("first", "2026-01-05")]  # fmt: skip


def against(candidate: Sequence[bool | None], stored: pl.DataFrame, *, incumbent: str = "first"):
    core = pairs(Evidence(arm(candidate), arm(rate(0.3), "incumbent"), arm([True]), set()))
    runs = stored_runs(verdicts(*HISTORY), {"first", "best"})
    return against_best(core, runs, lambda week, arm: stored, incumbent=incumbent, margin=0.08, **READ)


def test_better_than_the_incumbent_is_not_enough_where_a_better_one_was_promoted_before():
    stored = arm([True] * 240).with_columns(slice=pl.lit("core"))
    worse = against(rate(0.6), stored)
    assert worse.below and worse.adapter_id == "best" and "may be worse by more than 8.0 points" in worse.sentence
    assert not against([n > 3 for n in range(240)], stored).below
    past = Past(3, Fixed(0.08), None, lambda core, margin: worse)
    old = arm(rate(0.05, seed=1), "incumbent")
    decision = decide(Evidence(arm(rate(0.6)), old, old.head(20), set(), past=past), RULES)
    assert decision.verdict == "INCONCLUSIVE" and decision.details["path"] == "below the best", decision.reasons


@pytest.mark.parametrize(
    "stored",
    [
        arm([True] * 235).with_columns(slice=pl.lit("core")),
        arm([True] * 240, scorer_version="2").with_columns(slice=pl.lit("core")),
        arm([True] * 240, decoding="sampled").with_columns(slice=pl.lit("core")),
        arm([True]).clear().with_columns(slice=pl.lit("core")),
    ],
)
def test_results_of_other_cases_or_another_scorer_are_not_comparable_and_it_says_so(stored: pl.DataFrame):
    found = against(rate(0.6), stored, incumbent="another")
    assert not found.below and found.adapter_id is None and "compared with the incumbent alone" in found.sentence


def test_a_stored_run_that_lost_a_case_still_counts_and_what_does_not_is_named():
    lost = arm([None, *[True] * 239]).with_columns(slice=pl.lit("core"))
    found = against(rate(0.6), lost)
    assert found.below and found.difference and found.difference.n == 239
    other = against(
        rate(0.6), arm([True] * 240, scorer_version="2").with_columns(slice=pl.lit("core")), incumbent="another"
    )
    assert other.sentence.endswith(
        "; not compared: best of week 2026-01-19, scored or decoded otherwise; first of week 2026-01-12, scored or decoded otherwise"
    )


def test_the_incumbent_may_be_the_best_itself():
    assert "the incumbent did best" in against(rate(0.6), arm([True]).clear(), incumbent="best").sentence
