"""The parts of a difference: they add up, each moves for its own reason, and nothing is known of behaviour that never showed."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from flywheel.statistics.format_and_behaviour import Side, _parts, right_if_valid, split


def side(*cases: tuple[int, int]) -> Side:
    """Cases as (valid, right)."""
    return Side([v for v, _ in cases], [r for _, r in cases], [v * r for v, r in cases])


def clusters(n: int) -> list[str]:
    return [f"k{number}" for number in range(n)]


def test_more_valid_calls_alone_are_format():
    found = split(
        side(*[(1, 1)] * 30, *[(1, 0)] * 10), side(*[(1, 1)] * 15, *[(1, 0)] * 5, *[(0, 0)] * 20), clusters(40)
    )
    assert found.format.value == pytest.approx(0.375) and found.behaviour.value == found.rest.value == 0
    assert found.format.low < 0.375 < found.format.high


def test_better_calls_alone_are_behaviour_and_what_is_right_though_invalid_is_neither():
    found = split(side(*[(1, 1)] * 30, *[(1, 0)] * 10), side(*[(1, 1)] * 10, *[(1, 0)] * 30), clusters(40))
    assert found.behaviour.value == pytest.approx(0.5) and found.format.value == found.rest.value == 0
    odd = split(side(*[(0, 1)] * 10, *[(1, 1)] * 10), side(*[(0, 0)] * 10, *[(1, 1)] * 10), clusters(20))
    assert odd.rest.value == pytest.approx(0.5) and odd.format.value == odd.behaviour.value == 0


def test_an_arm_that_is_never_valid_differs_in_format_alone():
    found = split(side(*[(1, 1)] * 6, *[(1, 0)] * 4), side(*[(0, 0)] * 10), clusters(10))
    assert found.format.value == pytest.approx(0.6) and found.behaviour.value == 0
    assert right_if_valid(side((0, 0))) is None and right_if_valid(side((1, 1), (1, 0), (0, 0))) == 0.5


def test_cases_of_one_cluster_say_less_and_one_cluster_says_nothing():
    random.seed(0)
    one, other = (side(*[(1, random.random() < share) for _ in range(60)]) for share in (0.8, 0.5))
    apart, together = split(one, other, clusters(60)), split(one, other, [f"k{n // 10}" for n in range(60)])
    assert apart == split(one, other, clusters(60)), "a fixed seed"
    assert (
        apart.behaviour.value == together.behaviour.value
        and apart.behaviour.low < apart.behaviour.value < apart.behaviour.high
    )
    alone = split(one, other, ["k"] * 60).behaviour
    assert alone.low == alone.value == alone.high


_COUNTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30
)


@settings(max_examples=60)
@given(_COUNTS)
def test_the_parts_add_up_to_the_difference(cases: list[tuple[int, int, int, int]]):
    one, other = side(*[case[:2] for case in cases]), side(*[case[2:] for case in cases])
    sums = [float(sum(values)) for values in (*one, *other)]
    import numpy as np

    parts = _parts(np.asarray(float(len(cases))), *(np.asarray(value) for value in sums))
    assert sum(map(float, parts)) == pytest.approx((sums[1] - sums[4]) / len(cases))
