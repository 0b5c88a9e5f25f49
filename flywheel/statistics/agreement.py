"""Agreement between people, or between people and a program: Krippendorff's alpha and Cohen's kappa, with intervals.

Both are None where they cannot be known: under two units, or when nothing ever differs, because then chance has no measure.
Sources: Krippendorff, Content Analysis (2004), chapter 11; Cohen 1960.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

_RESAMPLES = 1_000
_KNOWN_SHARE = 0.9  # of the resamples; under it the interval is not known


class Alpha(NamedTuple):
    """Krippendorff's alpha of two answers a unit.

    Attributes:
        alpha: 1 is perfect, 0 is chance; None where it cannot be known. `low` and `high` bound 95 % of bootstrap resamples.
        observed, expected: mean distance inside a pair, and between any two answers.
        pairs: units it was computed on.
    """

    alpha: float | None
    low: float | None
    high: float | None
    observed: float | None
    expected: float | None
    pairs: int


class Kappa(NamedTuple):
    """Cohen's kappa of two judges: 1 is perfect, 0 is chance; None where it cannot be known. `low` and `high` are a 95 % interval."""

    kappa: float | None
    low: float | None
    high: float | None
    pairs: int


Pair = tuple[Any, Any]


def nominal(one: Any, other: Any) -> float:
    """0 for equal values, 1 for others."""
    return float(one != other)


def alpha(pairs: Sequence[Pair], apart: Callable[[Any, Any], float] = nominal, *, seed: int = 0) -> Alpha:
    """Krippendorff's alpha of pairs of answers under a distance, with a seeded percentile bootstrap over the pairs."""
    if len(pairs) < 2:
        return Alpha(None, None, None, None, None, len(pairs))
    values = [value for pair in pairs for value in pair]
    table = np.array([[apart(one, other) for other in values] for one in values], dtype=float)
    within = np.array([table[2 * unit, 2 * unit + 1] for unit in range(len(pairs))])
    point, observed, expected = _alpha(within, table, np.ones(len(pairs)))
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(0, len(pairs), len(pairs)), minlength=len(pairs)) for _ in range(_RESAMPLES)]
    known = [value for weights in draws if (value := _alpha(within, table, weights)[0]) is not None]
    low, high = _interval(point, known)
    return Alpha(point, low, high, observed, expected, len(pairs))


def _alpha(within: np.ndarray, table: np.ndarray, weights: np.ndarray) -> tuple[float | None, float, float]:
    """Alpha, observed and expected distance when unit u counts `weights[u]` times."""
    counts = np.repeat(weights, 2)
    total = counts.sum()
    observed = float((within * weights).sum() / weights.sum())
    # Two draws of the same value are 0 apart, so the diagonal needs no correction but in the number of draws.
    expected = float(counts @ table @ counts / (total * (total - 1)))
    return (1 - observed / expected if expected > 0 else None), observed, expected


def cohen_kappa(pairs: Sequence[tuple[bool, bool]], clusters: Sequence[str], *, seed: int = 0) -> Kappa:
    """Cohen's kappa of two judges who said yes or no to the same units, with a seeded bootstrap over the clusters of units."""
    if len(pairs) < 2:
        return Kappa(None, None, None, len(pairs))
    cells = np.zeros((len(pairs), 4))
    cells[np.arange(len(pairs)), [2 * int(one) + int(other) for one, other in pairs]] = 1
    names, owners = np.unique(np.asarray(clusters), return_inverse=True)
    by_cluster = np.zeros((len(names), 4))
    np.add.at(by_cluster, owners, cells)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), [1 / len(names)] * len(names), size=_RESAMPLES) @ by_cluster
    known = [value for counts in draws if (value := _kappa(counts)) is not None]
    point = _kappa(cells.sum(axis=0))
    low, high = _interval(point, known)
    return Kappa(point, low, high, len(pairs))


def _kappa(counts: np.ndarray) -> float | None:
    """Kappa of the four counts no-no, no-yes, yes-no, yes-yes."""
    table = counts.reshape(2, 2) / counts.sum()
    by_chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return None if by_chance >= 1 - 1e-12 else float((np.trace(table) - by_chance) / (1 - by_chance))


def _interval(point: float | None, resampled: list[float]) -> tuple[float | None, float | None]:
    """The middle 95 % of the resamples; unknown where too few of them have a value."""
    if point is None or len(resampled) < _KNOWN_SHARE * _RESAMPLES:
        return None, None
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(low), float(high)
