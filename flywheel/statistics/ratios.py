"""Ratios of sums and percentiles with 95 % intervals, where cases of one cluster are not independent.

A share of calls, a mean number of steps and F1 are all one sum over cases divided by another. Source of the interval:
the linearised (ratio) estimator, Cochran 1977, section 6; clustered as in Miller 2024 (arXiv:2411.00640).
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

from flywheel.statistics.paired import CONFIDENCE, Interval, all_alike


def clustered_ratio(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[str], *, share: bool = True
) -> Interval:
    """Sum over sum with a cluster-robust t interval; NaN where the denominators sum to 0. `n` is the denominator, rounded.

    Args:
        share: the ratio lies between 0 and 1. Its interval is cut there, and where all clusters agree it is that of `paired.all_alike`.
            Without it such an interval is NaN.
    """
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    total = float(below.sum())
    if not total:
        return Interval(math.nan, math.nan, math.nan, 0)
    ratio, n = float(above.sum()) / total, round(total)
    names, owners = np.unique(np.asarray(clusters), return_inverse=True)
    groups = len(names)
    residuals = np.bincount(owners, weights=above - ratio * below, minlength=groups)
    spread = float((residuals**2).sum())
    if groups < 2 or spread <= 1e-18 * total**2:
        if not share:
            return Interval(ratio, math.nan, math.nan, n)
        return all_alike(ratio, len(np.unique(owners[below > 0])), n)
    error = math.sqrt(groups / (groups - 1) * spread) / total
    half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, groups - 1)) * error
    low, high = ratio - half, ratio + half
    return Interval(ratio, max(0.0, low), min(1.0, high) if share else high, n)


def percentile(values: Sequence[float], p: float) -> Interval:
    """The p-quantile (0 to 1) with its order-statistic interval (scipy's `quantile_test`); an end beyond the data is NaN.

    Observations are taken to be independent; those of one episode are not quite, so the interval is a little too narrow.
    """
    if not values:
        return Interval(math.nan, math.nan, math.nan, 0)
    estimate = float(np.quantile(np.asarray(values, dtype=float), p))
    if len(values) < 2:
        return Interval(estimate, math.nan, math.nan, len(values))
    tested = scipy.stats.quantile_test(values, q=estimate, p=p)  # pyright: ignore[reportArgumentType]
    interval = tested.confidence_interval(CONFIDENCE)
    return Interval(estimate, float(interval.low), float(interval.high), len(values))
