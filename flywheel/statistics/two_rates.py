"""Two rates from different runs, before and after a switch: their difference with an interval that does not claim too much.

Newcombe 1998 (method 10: Wilson intervals of both, joined) is right for single runs, and holds with no failure at all; runs of one
person move together, so the clustered interval (CR1 over people, as in `paired.py`) is taken too, and the wider of both counts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

from flywheel.statistics.paired import CONFIDENCE, wilson


class RateDifference(NamedTuple):
    """Rate after minus rate before, 0 to 1 each.

    Attributes:
        difference, low, high: with the two-sided 95 % interval; NaN where one side has no runs.
        p_higher: one-sided p-value of "the rate rose": the larger of Fisher's exact and the clustered t test; 1 where unknown.
    """

    difference: float
    low: float
    high: float
    p_higher: float


def rate_difference(
    before: Sequence[bool], before_clusters: Sequence[str], after: Sequence[bool], after_clusters: Sequence[str]
) -> RateDifference:
    """Compare two sets of runs; a cluster may stand in both."""
    counts = (int(np.sum(after)), len(after), int(np.sum(before)), len(before))
    plain = count_difference(*counts)
    if not before or not after:
        return plain
    parts = [(np.asarray(after, float), 1, after_clusters), (np.asarray(before, float), -1, before_clusters)]
    influence = np.concatenate([sign * (values - values.mean()) / len(values) for values, sign, _ in parts])
    names, owners = np.unique(
        np.concatenate([np.asarray(clusters, str) for *_, clusters in parts]), return_inverse=True
    )
    groups = len(names)
    if groups < 2:
        return plain._replace(low=-1.0, high=1.0, p_higher=1.0)  # one person: nothing can be said of others
    error = math.sqrt(groups / (groups - 1) * float((np.bincount(owners, weights=influence) ** 2).sum()))
    if not error:
        return plain
    half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, groups - 1)) * error
    p_clustered = float(scipy.stats.t.sf(plain.difference / error, groups - 1))
    return RateDifference(plain.difference, min(plain.low, plain.difference - half), max(plain.high, plain.difference + half),
                          max(plain.p_higher, p_clustered))  # fmt: skip


def count_difference(failed_after: int, after: int, failed_before: int, before: int) -> RateDifference:
    """The same from counts alone, where nobody knows whose runs they were."""
    one, other = wilson(failed_after, after), wilson(failed_before, before)
    if not after or not before:
        return RateDifference(math.nan, math.nan, math.nan, 1.0)
    difference = one.estimate - other.estimate
    low = difference - math.hypot(one.estimate - one.low, other.high - other.estimate)
    high = difference + math.hypot(one.high - one.estimate, other.estimate - other.low)
    table = [[failed_after, after - failed_after], [failed_before, before - failed_before]]
    p_higher = scipy.stats.fisher_exact(table, alternative="greater").pvalue  # pyright: ignore[reportAttributeAccessIssue]
    return RateDifference(difference, low, high, float(p_higher))
