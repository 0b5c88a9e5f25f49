"""A gain split in two: the model writes valid calls more often (format), or what it validly does is right more often (behaviour).

The share of right cases is v x s + r: v the share that is valid, s the share of those that is right, r what is right in spite of an
invalid call. The difference of two products is shared evenly (Shapley's values for two factors), so the three parts add up:

    format = (v1 - v0)(s1 + s0)/2     behaviour = (s1 - s0)(v1 + v0)/2     rest = r1 - r0
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from flywheel.statistics.paired import RESAMPLES, owners_of


class Side(NamedTuple):
    """One arm's cases, in the order that both share: means over epochs, 0 to 1, of valid, of right, and of both at once."""

    valid: Sequence[float]
    right: Sequence[float]
    both: Sequence[float]


class Part(NamedTuple):
    """A part of a difference with its two-sided 95 % interval, -1 to 1."""

    value: float
    low: float
    high: float


class Split(NamedTuple):
    """The parts of a difference; they add up to it."""

    format: Part
    behaviour: Part
    rest: Part


def split(one: Side, other: Side, clusters: Sequence[str], *, seed: int = 0) -> Split:
    """The parts of `one` minus `other`, with intervals from resampling whole clusters (percentile, fixed seed); needs a case.

    Where an arm is never valid, nothing is known of its behaviour: the other's is taken, and the difference is one of format.
    """
    owners = owners_of(clusters)
    columns = [np.bincount(owners, weights=np.asarray(values, dtype=float)) for values in (*one, *other)]
    data = (np.bincount(owners).astype(float), *columns)
    found = []
    for place in range(3):

        def part(*sums: np.ndarray, axis: int = -1, place: int = place) -> np.ndarray:
            return _parts(*(values.sum(axis=axis) for values in sums))[place]

        value = float(part(*data))
        low, high = value, value
        if len(columns[0]) > 1:
            resampled: Any = scipy.stats.bootstrap(
                data, part, paired=True, vectorized=True, n_resamples=RESAMPLES, confidence_level=0.95, method="percentile",
                rng=np.random.default_rng(seed),
            )  # fmt: skip
            low, high = float(resampled.confidence_interval.low), float(resampled.confidence_interval.high)
        found.append(Part(value, low, high))
    return Split(*found)


def right_if_valid(side: Side) -> float | None:
    """Share of the valid that is right; None where nothing is valid."""
    valid = float(np.sum(side.valid))
    return float(np.sum(side.both)) / valid if valid else None


def _parts(
    n: np.ndarray, valid: np.ndarray, right: np.ndarray, both: np.ndarray, valid_0: np.ndarray, right_0: np.ndarray, both_0: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Format, behaviour and rest from sums over cases; arrays of one shape."""
    v, v_0 = valid / n, valid_0 / n
    with np.errstate(divide="ignore", invalid="ignore"):
        s, s_0 = both / valid, both_0 / valid_0
    s, s_0 = (
        np.where(valid > 0, s, np.where(valid_0 > 0, s_0, 0.0)),
        np.where(valid_0 > 0, s_0, np.where(valid > 0, s, 0.0)),
    )
    return (v - v_0) * (s + s_0) / 2, (s - s_0) * (v + v_0) / 2, (right - both - right_0 + both_0) / n
