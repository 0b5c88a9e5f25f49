"""Intervals and paired tests: the unit is the case, cases of one cluster are not independent, epochs are averaged first.

Sources: Wilson 1927 for a single rate; Miller 2024 (arXiv:2411.00640) for paired differences with clustered standard
errors; exact McNemar as a binomial test on the discordant pairs (arXiv:2602.10144). `clustered_bounds` works on one
comparison or on a stack of simulated ones, so that the simulation of the gate runs the code of the gate.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

CONFIDENCE = 0.95
LEVEL = 0.025  # one-sided: the two ways to be promoted share 5 %, and so do the two ways to be refused
POWER = 0.8
RESAMPLES = 2_000


class Interval(NamedTuple):
    """A rate with its two-sided 95 % interval, all 0 to 1, and the number of observations."""

    estimate: float
    low: float
    high: float
    n: int


class Bounds(NamedTuple):
    """Mean differences with one-sided bounds and clustered standard errors, -1 to 1; arrays of the stack's shape."""

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    standard_error: np.ndarray


class PairedDifference(NamedTuple):
    """Mean of candidate minus incumbent over cases.

    Attributes:
        mean: -1 to 1.
        lower, upper: one-sided 97.5 % bounds (together a 95 % interval).
        standard_error: clustered.
        n, clusters: cases and clusters.
        fixed, broken: cases the candidate, the incumbent solved more often.
        p_better, p_worse: one-sided exact McNemar p-values; None unless every case is its own cluster and ran once.
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    n: int
    clusters: int
    fixed: int
    broken: int
    p_better: float | None = None
    p_worse: float | None = None


def points(share: float) -> str:
    """A size on a scale of rates, 0.072 to "7.2 points": a difference in percent could be read as relative."""
    return f"{100 * share:.1f} points"


def wilson(successes: int, n: int) -> Interval:
    """Wilson score interval of a rate; NaN for n = 0."""
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    interval = scipy.stats.binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def rate(successes: int, n: int) -> str:
    """A rate as people read it: with its count, denominator and 95 % interval."""
    if not n:
        return "0 of 0"
    interval = wilson(successes, n)
    return f"{successes:,} of {n:,} = {interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def clustered_rate(successes: Sequence[float], clusters: Sequence[str]) -> Interval:
    """Rate with a cluster-robust t interval, cut to 0..1; `all_alike` where all clusters agree or there is one. `n` counts values.

    `successes` are 0 or 1, or a case's mean over its epochs. NaN where there are none.
    """
    values = np.asarray(successes, dtype=float)
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, 0)
    mean, groups = float(values.mean()), len(set(clusters))
    error = clustered_standard_error(values, clusters)
    if not error:
        return all_alike(mean, groups, len(values))
    half = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, groups - 1)) * error
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), len(values))


def all_alike(share: float, clusters: int, n: int) -> Interval:
    """The interval of a share that is the same in all clusters: Wilson's of so many clusters, never of their cases.

    A clustered interval would have no width, and claim what so few clusters cannot know.
    """
    plain = wilson(round(share * clusters), clusters)
    return Interval(share, min(share, plain.low), max(share, plain.high), n)


def clustered_standard_error(values: np.ndarray, clusters: Sequence[str]) -> float:
    """Standard error of the mean when values of one cluster move together (CR1); 0 with fewer than two clusters."""
    return float(clustered_bounds(values, owners_of(clusters)).standard_error)


def owners_of(clusters: Sequence[str]) -> np.ndarray:
    """Cluster number of each case, 0-based, in the order given."""
    return np.unique(np.asarray(clusters), return_inverse=True)[1]


def clustered_bounds(differences: np.ndarray, owners: np.ndarray, level: float = LEVEL) -> Bounds:
    """Means over the last axis with one-sided bounds at `level` from a t distribution over clusters (CR1).

    Args:
        differences: (..., cases), each -1 to 1.
        owners: (cases,) cluster number of each case.

    Where all clusters moved alike the spread says nothing. Then at least level**(1/clusters) of all clusters like these move
    so (Clopper and Pearson), and of the rest the worst is assumed; one cluster says next to nothing about another.
    """
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(owners[order]) > 0])
    groups, n = len(starts), differences.shape[-1]
    mean = differences.mean(axis=-1)
    sums = np.add.reduceat((differences - mean[..., None])[..., order], starts, axis=-1)
    error = np.sqrt(groups / max(1, groups - 1) * (sums**2).sum(axis=-1)) / n
    error = np.where(error < 1e-12, 0.0, error) if groups > 1 else np.zeros_like(mean)
    half = scipy.stats.t.ppf(1 - level, max(1, groups - 1)) * error
    alike = level ** (1 / groups)
    lower = np.where(error > 0, mean - half, alike * mean - (1 - alike))
    upper = np.where(error > 0, mean + half, alike * mean + (1 - alike))
    return Bounds(mean, np.clip(lower, -1, 1), np.clip(upper, -1, 1), error)


def paired_difference(
    candidate: Sequence[float], incumbent: Sequence[float], clusters: Sequence[str], *, level: float = LEVEL
) -> PairedDifference:
    """Clustered paired comparison of two arms on the same cases, in the same order; needs at least one case.

    Each value is 0 or 1, or a case's mean over its epochs. Exact McNemar is given where it holds: every case its own
    cluster, one epoch each.
    """
    one, other = np.asarray(candidate, dtype=float), np.asarray(incumbent, dtype=float)
    difference, owners = one - other, owners_of(clusters)
    groups = int(owners.max()) + 1
    bounds = clustered_bounds(difference, owners, level)
    fixed, broken = int((difference > 0).sum()), int((difference < 0).sum())
    exact = groups == len(difference) and bool(np.isin(one, (0, 1)).all() and np.isin(other, (0, 1)).all())
    better, worse = (mcnemar_better(fixed, broken), mcnemar_worse(fixed, broken)) if exact else (None, None)
    mean, lower, upper, error = (float(values) for values in bounds)
    return PairedDifference(mean, lower, upper, error, len(difference), groups, fixed, broken, better, worse)


def p_worse(difference: PairedDifference) -> float:
    """One-sided p-value for "the candidate is worse": exact McNemar where it holds, else clustered t."""
    if difference.p_worse is not None:
        return difference.p_worse
    return float(t_worse(np.asarray(difference.mean), np.asarray(difference.standard_error), difference.clusters))


def t_worse(mean: np.ndarray, error: np.ndarray, groups: int) -> np.ndarray:
    """One-sided clustered t p-values; where all clusters moved alike, the sign test over clusters."""
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = scipy.stats.t.cdf(mean / error, max(1, groups - 1))
    return np.where(error > 0, tail, np.where(mean < 0, 0.5**groups, 1.0))


def cluster_bootstrap(
    differences: np.ndarray, clusters: Sequence[str], *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float] | None:
    """One-sided bounds by resampling whole clusters (percentile, 2,000 resamples, fixed seed): a check on the t bounds.

    None where the clusters are fewer than two or moved alike: there resampling shows no spread at all.
    """
    owners = owners_of(clusters)
    if not clustered_bounds(differences, owners).standard_error:
        return None
    counts = np.bincount(owners).astype(float)
    sums = np.bincount(owners, weights=differences)

    def mean(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    found: Any = scipy.stats.bootstrap(
        (sums, counts), mean, paired=True, vectorized=True, n_resamples=RESAMPLES, confidence_level=1 - 2 * level,
        method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mcnemar_better(fixed: int, broken: int) -> float:
    """Exact one-sided McNemar p-value for "the candidate is better"; 1 without discordant cases."""
    return float(sign_test(np.asarray(fixed), np.asarray(broken)))


def mcnemar_worse(fixed: int, broken: int) -> float:
    """The same for "the candidate is worse"."""
    return mcnemar_better(broken, fixed)


def sign_test(more: np.ndarray, fewer: np.ndarray) -> np.ndarray:
    """Probability of at least `more` of more + fewer fair coins: exact McNemar, for arrays of counts."""
    return scipy.stats.binom.sf(more - 1, more + fewer, 0.5)


def effective_cases(cluster_sizes: Sequence[int]) -> float:
    """How many independent cases clusters are worth whose cases all come out together: n² over the sum of squared sizes (Kish, 1965)."""
    return sum(cluster_sizes) ** 2 / sum(size**2 for size in cluster_sizes)


def minimum_detectable_effect(n: float, discordance: float, *, level: float = LEVEL) -> float:
    """Smallest true difference (0 to 1) that n cases resolve at power 0.8, one-sided at `level`, given the discordant share.

    From n = discordance x ((z_level + z_power) / effect)^2; a discordance of 0 is read as one discordant case.
    """
    share = max(discordance, 1 / n)
    return float((scipy.stats.norm.isf(level) + scipy.stats.norm.ppf(POWER)) * math.sqrt(share / n))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given."""
    return holm_adjusted(np.asarray(p_values, dtype=float)).tolist()


def holm_adjusted(p_values: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values over the last axis, in the order given."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1, kind="stable")
    steps = np.minimum(1.0, np.take_along_axis(p_values, order, axis=-1) * (count - np.arange(count)))
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(steps, axis=-1), axis=-1)
    return adjusted
