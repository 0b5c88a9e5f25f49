"""Intervals and paired tests: the unit is the case, cases of one cluster are not independent.

Sources: Wilson 1927 for a single rate; Miller 2024 (arXiv:2411.00640) for paired differences with clustered standard
errors; exact McNemar as a binomial test on the discordant pairs (arXiv:2602.10144).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A rate with its two-sided 95 % interval, all 0 to 1, and the number of observations."""

    estimate: float
    low: float
    high: float
    n: int


class PairedDifference(NamedTuple):
    """Mean of candidate minus incumbent over cases.

    Attributes:
        mean: -1 to 1.
        lower, upper: one-sided 95 % bounds (together a 90 % interval).
        standard_error: clustered.
        n, clusters: cases and clusters.
        fixed, broken: cases only the candidate, only the incumbent solved.
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    n: int
    clusters: int
    fixed: int
    broken: int


def wilson(successes: int, n: int) -> Interval:
    """Wilson score interval of a rate; NaN for n = 0."""
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    interval = stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def rate(successes: int, n: int) -> str:
    """A rate as people read it: with its count, denominator and 95 % interval."""
    if not n:
        return "0 of 0"
    interval = wilson(successes, n)
    return f"{successes:,} of {n:,} = {interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def clustered_rate(successes: Sequence[bool], clusters: Sequence[str]) -> Interval:
    """Rate with a cluster-robust t interval, cut to 0..1; Wilson where all agree or there is one cluster.

    A clustered interval of zero width (all cases alike) would claim certainty, which n cases cannot give.
    """
    values = np.asarray(successes, dtype=float)
    plain = wilson(int(values.sum()), len(values))
    error = clustered_standard_error(values, clusters)
    if not error:
        return plain
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(set(clusters)) - 1)) * error
    return Interval(plain.estimate, max(0.0, plain.estimate - half), min(1.0, plain.estimate + half), plain.n)


def clustered_standard_error(values: np.ndarray, clusters: Sequence[str]) -> float:
    """Standard error of the mean when values of one cluster move together (CR1); 0 with fewer than two clusters."""
    names, owners = np.unique(np.asarray(clusters), return_inverse=True)
    groups = len(names)
    if groups < 2:
        return 0.0
    sums = np.bincount(owners, weights=values - values.mean(), minlength=groups)
    return float(math.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(values))


def paired_difference(
    candidate: Sequence[bool], incumbent: Sequence[bool], clusters: Sequence[str]
) -> PairedDifference:
    """Clustered paired comparison of two arms on the same cases, in the same order; needs at least one case."""
    one, other = np.asarray(candidate, dtype=float), np.asarray(incumbent, dtype=float)
    difference = one - other
    groups = len(set(clusters))
    mean = float(difference.mean())
    error = clustered_standard_error(difference, clusters)
    fixed, broken = int((difference > 0).sum()), int((difference < 0).sum())
    # One cluster, or clusters that all moved alike: nothing can be said about another one.
    unknowable = not error and bool(difference.any())
    half = 1.0 if unknowable else float(stats.t.ppf(CONFIDENCE, max(1, groups - 1))) * error
    return PairedDifference(mean, mean - half, mean + half, error, len(difference), groups, fixed, broken)


def mcnemar_better(fixed: int, broken: int) -> float:
    """Exact one-sided McNemar p-value for "the candidate is better"; 1 without discordant cases."""
    discordant = fixed + broken
    return 1.0 if discordant == 0 else float(stats.binomtest(fixed, discordant, 0.5, alternative="greater").pvalue)


def mcnemar_worse(fixed: int, broken: int) -> float:
    """The same for "the candidate is worse"."""
    return mcnemar_better(broken, fixed)


def minimum_detectable_effect(n: int, discordance: float) -> float:
    """Smallest true difference (0 to 1) that n cases resolve at power 0.8, one-sided 5 %, given the discordant share.

    From n = discordance x ((z_0.95 + z_0.8) / effect)^2; a discordance of 0 is read as one discordant case.
    """
    share = max(discordance, 1 / n)
    return float((stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) * math.sqrt(share / n))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
