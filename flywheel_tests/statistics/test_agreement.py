"""Alpha and kappa against published values and values computed by hand, and None where nobody can know."""

import pytest

from flywheel.statistics.agreement import alpha, cohen_kappa
from flywheel.toolcalls.distance import distance


def test_nominal_by_hand():
    # Four units, pairs aa, aa, bb, ab. Pooled: 5 a, 3 b. Observed 1/4; expected 2*5*3 / (8*7) = 30/56. Alpha = 1 - 14/30.
    found = alpha([("a", "a"), ("a", "a"), ("b", "b"), ("a", "b")])
    assert (
        found.alpha == pytest.approx(1 - 14 / 30)
        and found.observed == 0.25
        and found.expected == pytest.approx(30 / 56)
    )
    assert found.low is not None and found.low <= found.alpha <= found.high and found.pairs == 4


def test_krippendorffs_own_example_of_two_observers():
    # Computing Krippendorff's Alpha-Reliability (2011), section A: binary, two observers, ten units: 0.095.
    one, other = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha(list(zip(one, other, strict=True))).alpha == pytest.approx(0.095, abs=5e-4)
    # Section B: nominal, two observers, twelve units: 0.692.
    first, second = list("aabbdcccedda"), list("babbbccceddd")
    assert alpha(list(zip(first, second, strict=True))).alpha == pytest.approx(0.692, abs=5e-4)


def test_structured_arguments_by_hand():
    # d within: 0 and 1/2. Pooled values x, x, y, z with x={a1,b1}, y={a2,b2}, z={a2,b3}: x-y 1, x-z 1, y-z 1/2; mean over the
    # 12 ordered pairs: (2*(2*1 + 2*1) + 2*1/2) / 12 = 9/12. Observed 1/4. Alpha = 1 - 1/3.
    x, y, z = {"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 2, "b": 3}
    found = alpha([(x, x), (y, z)], distance)
    assert found.alpha == pytest.approx(2 / 3) and found.expected == pytest.approx(0.75)
    assert alpha([(x, x), (y, z)]).alpha == pytest.approx(1 - 0.5 / (10 / 12)), "exact equality sees less agreement"


@pytest.mark.parametrize("pairs", [[], [("a", "b")], [("a", "a")] * 20])
def test_what_cannot_be_known_is_none_and_never_one(pairs: list):
    found = alpha(pairs)
    assert (found.alpha, found.low, found.high) == (None, None, None) and found.pairs == len(pairs)


def test_the_interval_is_seeded_and_unknown_where_most_resamples_are():
    pairs = [(number % 7, (number + (number % 5 == 0)) % 7) for number in range(40)]
    assert alpha(pairs, seed=1) == alpha(pairs, seed=1) != alpha(pairs, seed=2)
    lonely = alpha([("a", "a"), ("b", "b")])
    assert lonely.alpha == 1 and lonely.low is None, "half of the resamples hold one value only"


def test_cohens_kappa_by_hand_and_its_interval():
    # The common textbook table: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no. Observed 0.7, by chance 0.5: kappa 0.4.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    alone = cohen_kappa(pairs, [str(number) for number in range(50)])
    assert alone.kappa == pytest.approx(0.4) and alone.pairs == 50
    # The delta method gives a standard error of 0.127 (Fleiss, Cohen and Everitt 1969), so 0.15 to 0.65.
    assert alone.low == pytest.approx(0.15, abs=0.06) and alone.high == pytest.approx(0.65, abs=0.06)
    five_a_cluster = cohen_kappa(pairs, [str(number // 5) for number in range(50)])
    assert five_a_cluster.kappa == alone.kappa and five_a_cluster.low is not None and alone.low is not None
    assert five_a_cluster.low < alone.low, "units of one cluster that move together carry less"


@pytest.mark.parametrize("pairs", [[], [(True, True)], [(True, True)] * 30])
def test_kappa_without_any_difference_is_unknown_and_never_one(pairs: list):
    found = cohen_kappa(pairs, [str(number) for number in range(len(pairs))])
    assert (found.kappa, found.low, found.high) == (None, None, None)
