"""How long things take when some are not over yet: the median with its interval, waiting ones counted as waiting.

Kaplan and Meier 1958 as scipy has it; the interval of the median is Brookmeyer and Crowley's (1982) over log-log bounds. A median over
those that ended alone would call a process fast because its slow cases are still open.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load


class Median(NamedTuple):
    """Median time and its 95 % interval, in the unit given; None where fewer than half have ended, or an end is not known.

    `ended` of `n` are over.
    """

    value: float | None
    low: float | None
    high: float | None
    ended: int
    n: int


def median_time(ended: Sequence[float], waiting: Sequence[float]) -> Median:
    """The median time to the end, from the times of those that ended and those that wait so long already."""
    n = len(ended) + len(waiting)
    if not ended:
        return Median(None, None, None, 0, n)
    survival = scipy.stats.ecdf(scipy.stats.CensoredData(uncensored=list(ended), right=list(waiting))).sf
    with warnings.catch_warnings():  # scipy warns where a bound is not known; here that is an answer
        warnings.simplefilter("ignore", RuntimeWarning)
        bounds = survival.confidence_interval(0.95, method="log-log")
    value, low, high = (_half(survival.quantiles, curve.probabilities) for curve in (survival, bounds.low, bounds.high))
    return Median(value, low, high, len(ended), n)


def _half(times: np.ndarray, share: np.ndarray) -> float | None:
    """The first time at which at most half are left; a bound that is not known is no answer."""
    with np.errstate(invalid="ignore"):
        reached = np.flatnonzero(share <= 0.5)
    return float(times[reached[0]]) if reached.size else None
