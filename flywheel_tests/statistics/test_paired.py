"""Intervals and tests against values computed elsewhere, and properties that must hold for any data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.statistics.paired import (
    cluster_bootstrap,
    clustered_bounds,
    clustered_rate,
    clustered_standard_error,
    effective_cases,
    holm,
    mcnemar_better,
    mcnemar_worse,
    minimum_detectable_effect,
    owners_of,
    p_worse,
    paired_difference,
    wilson,
)


def test_wilson_is_the_textbook_interval():
    # Brown, Cai, DasGupta 2001, formula (4) by hand for 8 of 10.
    interval = wilson(8, 10)
    assert interval.low == pytest.approx(0.4901, abs=1e-3) and interval.high == pytest.approx(0.9433, abs=1e-3)
    assert math.isnan(wilson(0, 0).estimate)


def test_exact_mcnemar_is_a_sign_test():
    assert mcnemar_better(5, 0) == pytest.approx(1 / 32)
    assert mcnemar_worse(0, 5) == pytest.approx(1 / 32)
    assert mcnemar_better(10, 2) == pytest.approx((66 + 12 + 1) / 4096)
    assert mcnemar_better(0, 0) == 1


def test_clusters_of_one_give_the_usual_standard_error_and_whole_clusters_a_larger_one():
    values = np.array([1.0, 0, 1, 1, 0, 1, 0, 0])
    usual = values.std(ddof=1) / math.sqrt(8)
    assert clustered_standard_error(values, list("abcdefgh")) == pytest.approx(usual)
    assert clustered_standard_error(np.repeat(values, 3), [c for c in "abcdefgh" for _ in range(3)]) == pytest.approx(
        usual
    )


def test_cases_that_come_out_together_are_worth_fewer():
    assert effective_cases([1] * 40) == 40 and effective_cases([4] * 10) == 10 and effective_cases([40]) == 1
    # Two values a cluster that are always equal: the clustered standard error is that of so many independent cases.
    values = np.array([0.0, 1.0] * 30)
    together = clustered_standard_error(np.repeat(values, 2), [n for n in range(60) for _ in range(2)])
    assert together == pytest.approx(values.std(ddof=1) / math.sqrt(effective_cases([2] * 60)), rel=0.02)


def test_the_minimum_detectable_effect_is_that_of_the_notes():
    # notes/evaluation.md R3: 5 % discordant, 343 cases resolve 3 points; 124 resolve 5.
    assert minimum_detectable_effect(343, 0.05, level=0.05) == pytest.approx(0.03, abs=2e-4)
    assert minimum_detectable_effect(124, 0.05, level=0.05) == pytest.approx(0.05, abs=2e-4)
    # One-sided 2.5 %, as the gate tests: (1.96 + 0.84) in place of 2.486.
    assert minimum_detectable_effect(240, 0.2) == pytest.approx(2.8016 * math.sqrt(0.2 / 240), abs=1e-4)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_no_certainty_from_agreement():
    assert clustered_rate([True] * 20, list("abcdefghijklmnopqrst")).low < 0.9
    # Two hundred runs of forty cases that all succeed are forty observations, of one cluster one.
    for clusters in (40, 1):
        found = clustered_rate([True] * 200, [f"c{n % clusters}" for n in range(200)])
        assert (found.low, found.high, found.n) == (wilson(clusters, clusters).low, 1.0, 200)
    half = clustered_rate([True, False] * 3, ["one"] * 6)
    assert half.low < 0.05 and half.estimate == 0.5 and half.high > 0.75, (
        "one cluster that agrees with itself knows little"
    )
    assert paired_difference([True] * 3, [False] * 3, ["one"] * 3).lower <= 0
    # No case of 240 differs: a share of 1 - 0.025 ** (1 / 240) = 1.5 % of all such cases still may.
    equal = paired_difference([True] * 240, [True] * 240, [str(n) for n in range(240)])
    assert (equal.lower, equal.upper) == pytest.approx((-0.01525, 0.01525), abs=1e-4)
    # All of 30 fixed: the bound is far above zero although no spread was seen.
    assert paired_difference([True] * 30, [False] * 30, [str(n) for n in range(30)]).lower > 0.7


def test_exact_mcnemar_is_given_only_where_it_holds():
    one, other = [True, True, True, False, True, False], [False] * 6
    alone = paired_difference(one, other, list("abcdef"))
    assert alone.p_better == pytest.approx(1 / 16) and alone.p_worse == 1 and p_worse(alone) == 1
    assert paired_difference(one, other, list("aabbcc")).p_better is None
    assert paired_difference([0.5, *one[1:]], other, list("abcdef")).p_better is None, "more than one epoch"


def test_bounds_by_hand_and_for_a_stack_at_once():
    # 4 singleton clusters, mean 0.5, SE of (1, 1, 0, 0) = 0.288675; t(0.975, 3) = 3.182446.
    bounds = clustered_bounds(np.array([1.0, 1, 0, 0]), owners_of(list("abcd")))
    assert float(bounds.lower) == pytest.approx(0.5 - 3.182446 * 0.288675, abs=1e-5) and float(bounds.upper) == 1
    stack = np.random.default_rng(0).integers(-1, 2, (5, 12)).astype(float)
    owners = owners_of([str(n // 2) for n in range(12)])
    together = clustered_bounds(stack, owners)
    for row, mean, lower in zip(stack, together.mean, together.lower, strict=True):
        alone = clustered_bounds(row, owners)
        assert (mean, lower) == (pytest.approx(float(alone.mean)), pytest.approx(float(alone.lower)))


def test_the_cluster_bootstrap_agrees_with_the_t_bounds_and_repeats_itself():
    rng = np.random.default_rng(1)
    moves = rng.choice([-1.0, 0, 1], 150, p=[0.05, 0.75, 0.2]).repeat(2)
    clusters = [str(n // 2) for n in range(300)]
    found, bounds = cluster_bootstrap(moves, clusters), clustered_bounds(moves, owners_of(clusters))
    assert found == cluster_bootstrap(moves, clusters)
    assert found and found == pytest.approx((float(bounds.lower), float(bounds.upper)), abs=0.015)
    plain = clustered_bounds(moves, np.arange(300))
    assert found[1] - found[0] > 1.2 * float(plain.upper - plain.lower), "naive bounds are too narrow here"
    assert cluster_bootstrap(np.zeros(10), list("abcdefghij")) is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_swapping_the_arms_mirrors_the_difference(rows: list[tuple[bool, bool, str]]):
    one, other, clusters = (list(column) for column in zip(*rows, strict=True))
    forth, back = paired_difference(one, other, clusters), paired_difference(other, one, clusters)
    assert forth.mean == pytest.approx(-back.mean) and forth.lower == pytest.approx(-back.upper)
    assert forth.lower <= forth.mean <= forth.upper and (forth.fixed, forth.broken) == (back.broken, back.fixed)
    rate = clustered_rate(one, clusters)
    assert 0 <= rate.low <= rate.estimate <= rate.high <= 1
