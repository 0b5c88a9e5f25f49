"""pass^k against brute force: on 200 real runs, on any small table, and against what (c/n)^k gets wrong."""

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError
from flywheel.statistics.pass_k import case_pass_k, pass_k

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "tau-airline" / "trajectories.json"


def enumerated(runs: list[bool], k: int) -> Fraction:
    """Share of all k-subsets of the runs that succeed throughout, counted one by one."""
    subsets = list(itertools.combinations(runs, k))
    return Fraction(sum(all(subset) for subset in subsets), len(subsets))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_it_is_exact_on_the_real_airline_runs(k: int):
    if not AIRLINE.is_file():
        pytest.skip("the 200 airline runs of tau-bench are not on this machine")
    tasks: dict[int, list[bool]] = {}
    for run in json.loads(AIRLINE.read_text()):
        tasks.setdefault(run["task_id"], []).append(run["reward"] == 1)
    assert len(tasks) == 50 and all(len(runs) == 4 for runs in tasks.values())
    truth = sum((enumerated(runs, k) for runs in tasks.values()), Fraction()) / 50
    found = pass_k(list(tasks.values()), k)
    assert found.estimate == pytest.approx(float(truth), abs=1e-12) and found.n == 50
    assert found.low < found.estimate < found.high
    if k == 1:
        assert found.estimate == pytest.approx(84 / 200), "116 of the 200 fail"


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=6), min_size=1, max_size=6), st.integers(1, 3))
def test_it_is_exact_on_any_runs(table: list[list[bool]], k: int):
    truth = sum((enumerated(runs, k) for runs in table), Fraction()) / len(table)
    found = pass_k(table, k)
    assert found.estimate == pytest.approx(float(truth))
    assert found.estimate <= pass_k(table, 1).estimate + 1e-12


def test_it_is_unbiased_where_the_power_of_the_rate_is_too_high():
    chance, runs, k = 0.6, 4, 3
    counts = np.random.default_rng(0).binomial(runs, chance, 20_000)
    assert np.mean([case_pass_k(int(c), runs, k) for c in counts]) == pytest.approx(chance**k, abs=0.006)
    assert np.mean((counts / runs) ** k) > chance**k + 0.04


def test_cases_of_one_cluster_widen_the_interval():
    table = [[True] * 3 if n // 4 % 2 else [False] * 3 for n in range(40)]
    alone, together = pass_k(table, 2), pass_k(table, 2, [str(n // 4) for n in range(40)])
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_more_runs_than_there_are_cannot_be_asked_for():
    with pytest.raises(FlywheelError, match=r"pass\^4 cannot be estimated from 3 successes in 3 runs"):
        pass_k([[True] * 3], 4)
    with pytest.raises(FlywheelError):
        case_pass_k(1, 3, 0)
    assert math.isnan(pass_k([], 2).estimate)
