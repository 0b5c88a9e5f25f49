"""Intervals and tests against values computed elsewhere, and properties that must hold for any data."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.statistics.paired import (
    clustered_rate,
    clustered_standard_error,
    holm,
    mcnemar_better,
    mcnemar_worse,
    minimum_detectable_effect,
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
    import numpy as np

    values = np.array([1.0, 0, 1, 1, 0, 1, 0, 0])
    usual = values.std(ddof=1) / math.sqrt(8)
    assert clustered_standard_error(values, list("abcdefgh")) == pytest.approx(usual)
    assert clustered_standard_error(np.repeat(values, 3), [c for c in "abcdefgh" for _ in range(3)]) == pytest.approx(
        usual
    )


def test_the_minimum_detectable_effect_is_that_of_the_notes():
    # notes/evaluation.md R3: 5 % discordant, 343 cases resolve 3 points; 124 resolve 5.
    assert minimum_detectable_effect(343, 0.05) == pytest.approx(0.03, abs=2e-4)
    assert minimum_detectable_effect(124, 0.05) == pytest.approx(0.05, abs=2e-4)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_no_certainty_from_agreement():
    assert clustered_rate([True] * 20, list("abcdefghijklmnopqrst")).low < 0.9
    assert paired_difference([True] * 3, [False] * 3, ["one"] * 3).lower <= 0


@settings(max_examples=80)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_swapping_the_arms_mirrors_the_difference(rows: list[tuple[bool, bool, str]]):
    one, other, clusters = (list(column) for column in zip(*rows, strict=True))
    forth, back = paired_difference(one, other, clusters), paired_difference(other, one, clusters)
    assert forth.mean == pytest.approx(-back.mean) and forth.lower == pytest.approx(-back.upper)
    assert forth.lower <= forth.mean <= forth.upper and (forth.fixed, forth.broken) == (back.broken, back.fixed)
    rate = clustered_rate(one, clusters)
    assert 0 <= rate.low <= rate.estimate <= rate.high <= 1
