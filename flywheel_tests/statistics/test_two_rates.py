"""Two rates from different runs: known values, coverage with people whose runs move together, and what cannot be known."""

import math

import numpy as np

from flywheel.statistics.two_rates import count_difference, rate_difference


def test_the_interval_is_newcombes():
    """Newcombe 1998, table II, (a) 56/70 against 48/80, method 10: 0.2, from 0.0524 to 0.3339."""
    found = count_difference(56, 70, 48, 80)
    assert (round(found.difference, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)
    rare = count_difference(0, 10, 0, 20)  # (h): 0, from -0.1611 to 0.2775
    assert (round(rare.low, 4), round(rare.high, 4)) == (-0.1611, 0.2775) and rare.p_higher == 1


def test_without_runs_or_with_one_person_nothing_is_claimed():
    assert math.isnan(count_difference(0, 0, 3, 10).low) and rate_difference([], [], [True], ["a"]).p_higher == 1
    one = rate_difference([False] * 50, ["a"] * 50, [True] * 50, ["a"] * 50)
    assert (one.low, one.high, one.p_higher) == (-1, 1, 1)
    apart = rate_difference([False] * 50, [str(n) for n in range(50)], [True] * 50, [str(n) for n in range(50)])
    assert apart.p_higher < 1e-6 and apart.low > 0.5


def test_equal_rates_are_seldom_called_worse_though_people_s_runs_move_together():
    """300 switches that change nothing: each person fails at a rate of their own, 5 % of the tests may be wrong."""
    runs_each, random = 5, np.random.default_rng(7)
    wrong = covered = 0
    for _ in range(300):
        sides = []
        for side in "ab":
            rates = random.beta(0.3, 1.7, size=40)
            people = np.repeat([f"{side}{n}" for n in range(40)], runs_each).tolist()
            sides += [(random.random(len(people)) < np.repeat(rates, runs_each)).tolist(), people]
        found = rate_difference(*sides)
        wrong += found.p_higher < 0.05
        covered += found.low <= 0 <= found.high
    assert wrong <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5, wrong
    assert covered >= 300 * 0.95 - 3 * (300 * 0.05 * 0.95) ** 0.5, covered
