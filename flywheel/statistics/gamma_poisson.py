"""What became of counts: later over expected, learned over many clusters that differ, by a gamma-Poisson model on a grid.

Each cluster has a ratio of its own, drawn from one gamma distribution (mean, shape), and its later count is Poisson(ratio x expected): the
negative binomial of Gelman et al., Bayesian Data Analysis (3rd ed.), 2.6 and 5.3. Mean and shape have a posterior on a grid, so there is
no sampler to tune. An expected count that was seen, not known, is noisy, and a cluster is looked at because it was large: both are part
of how ratios differ, as long as a forecast starts from a count that was seen in the same way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

DRAWS = 4_000
# Prior of the mean ratio: gamma with mean 1 (nothing changes) and shape 2, so that 95 % of it lies between 0.12 and 2.8.
PRIOR_SHAPE, PRIOR_MEAN = 2.0, 1.0
_MEANS = np.geomspace(0.005, 6, 140)
_SHAPES = np.geomspace(0.3, 100, 40)


class Summary(NamedTuple):
    """A forecast: its mean and the 95 % interval, in the unit of what was drawn."""

    mean: float
    low: float
    high: float


class RatioPosterior(NamedTuple):
    """What is known of the ratios after some clusters.

    Attributes:
        weights: (means, shapes) posterior probability of each point of the grid.
        clusters: on how many clusters it stands; 0 is the prior alone.
    """

    weights: np.ndarray
    clusters: int

    def mean_ratio(self) -> Summary:
        """The mean ratio over all clusters like these."""
        over = self.weights.sum(axis=1)
        below = np.cumsum(over)
        low, high = (float(_MEANS[min(np.searchsorted(below, p), len(_MEANS) - 1)]) for p in (0.025, 0.975))
        return Summary(float((over * _MEANS).sum()), low, high)

    def ratios(self, clusters: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
        """(draws, clusters) ratios of new clusters; those of one draw share mean and shape, so that sums over clusters vary as they do."""
        points = rng.choice(self.weights.size, size=draws, p=self.weights.ravel())
        means, shapes = np.unravel_index(points, self.weights.shape)
        shape, mean = _SHAPES[shapes][:, None], _MEANS[means][:, None]
        return rng.gamma(shape, mean / shape, size=(draws, clusters))

    def counts(self, expected: Sequence[float], rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
        """(draws, clusters) later counts of new clusters that expect so many."""
        return rng.poisson(self.ratios(len(expected), rng, draws) * np.asarray(expected, dtype=float))


def ratio_posterior(later: Sequence[int], expected: Sequence[float]) -> RatioPosterior:
    """The posterior after clusters with these later counts; each expected count is above 0, at the traffic of the later week."""
    counts, rates = np.asarray(later, dtype=float), np.asarray(expected, dtype=float)
    log = scipy.stats.gamma.logpdf(_MEANS, PRIOR_SHAPE, scale=PRIOR_MEAN / PRIOR_SHAPE) + np.log(_MEANS)
    total = np.repeat(log[:, None], len(_SHAPES), axis=1)
    for count, rate in zip(counts, rates, strict=True):
        shape = _SHAPES[None, :]
        total = total + scipy.stats.nbinom.logpmf(count, shape, shape / (shape + rate * _MEANS[:, None]))
    weights = np.exp(total - total.max())
    return RatioPosterior(weights / weights.sum(), len(counts))


def summary(draws: np.ndarray) -> Summary:
    """Mean and central 95 % interval of draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Summary(float(draws.mean()), float(low), float(high))
