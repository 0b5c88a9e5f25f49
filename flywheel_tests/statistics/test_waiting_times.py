"""Medians of what is not all over yet."""

import pytest

from flywheel.statistics.waiting_times import median_time


def test_those_that_wait_count_as_waiting():
    assert median_time([1, 2, 3], []).value == 2
    assert median_time([1, 2, 3], [10, 10, 10, 10]).value is None, "fewer than half have ended"
    assert median_time([1, 2, 3, 4], []).value == 2 and median_time([1, 2, 3, 4], [1.5]).value == 3
    assert median_time([], [1, 2])[0:3] == (None, None, None) and median_time([], [1, 2]).n == 2


def test_the_interval_holds_the_median_and_narrows_with_n():
    few, many = median_time([1, 2, 3, 4, 5, 6, 7, 8], []), median_time([float(n % 8 + 1) for n in range(80)], [])
    assert few.low is not None and few.low <= 4 <= (few.high or 9) and few.value == 4
    assert many.high is not None and many.low is not None and many.high - many.low < (few.high or 8) - few.low


@pytest.mark.parametrize("waiting", [[], [9.0]])
def test_one_that_ended_is_no_interval(waiting: list[float]):
    found = median_time([5.0], waiting)
    assert found.ended == 1 and (found.high is None or found.high >= 5)
