"""Parts of a population joined by their shares."""

import math

import numpy as np
import pytest

from flywheel.statistics.paired import wilson
from flywheel.statistics.strata import Part, joined


def part(weight: float, successes: int, n: int) -> Part:
    found = wilson(successes, n)
    return Part(weight, found.estimate, found.low, found.high)


def test_one_part_is_itself_and_shares_are_scaled():
    alone = joined([part(7, 3, 10), Part(0, math.nan, math.nan, math.nan)])
    assert alone is not None and alone == pytest.approx(part(1, 3, 10)[1:])
    assert joined([part(30, 3, 10), part(70, 9, 10)]) == pytest.approx(
        joined([part(0.3, 3, 10), part(0.7, 9, 10)]) or ()
    )


def test_what_nobody_asked_leaves_the_whole_unknown():
    assert joined([part(1, 3, 10), Part(1, math.nan, math.nan, math.nan)]) is None
    assert joined([]) is None and joined([part(0, 1, 2)]) is None


def test_parts_all_alike_still_have_an_interval_and_it_covers():
    sure = joined([part(0.9, 4, 4), part(0.1, 0, 30)])
    assert sure is not None and sure.estimate == pytest.approx(0.9) and sure.low < 0.6 and sure.high <= 0.92
    rng, truth, inside = np.random.default_rng(1), 0.8 * 0.9 + 0.2 * 0.2, 0
    for slice_right, flagged_right in zip(rng.binomial(12, 0.9, 400), rng.binomial(40, 0.2, 400), strict=True):
        found = joined([part(0.8, int(slice_right), 12), part(0.2, int(flagged_right), 40)])
        inside += found is not None and found.low <= truth <= found.high
    assert inside / 400 > 0.93
