"""Rates of events that one run may have more than once, with exact 95 % intervals: Poisson counts over opportunities."""

import scipy  # scipy.stats is loaded by its first use: the code location needs none of it to load

CONFIDENCE = 0.95


def per_thousand(failures: int, opportunities: int) -> tuple[float, float, float]:
    """Failures per 1,000 opportunities with the exact Poisson interval (Garwood 1936): a run may fail more than once."""
    tail = (1 - CONFIDENCE) / 2
    low = float(scipy.stats.chi2.ppf(tail, 2 * failures)) / 2 if failures else 0.0
    high = float(scipy.stats.chi2.isf(tail, 2 * failures + 2)) / 2
    return 1000 * failures / opportunities, 1000 * low / opportunities, 1000 * high / opportunities


def rate_ratio(after: tuple[int, int], before: tuple[int, int]) -> tuple[float, float, float]:
    """The rate after over the rate before, with the exact conditional 95 % interval; infinite where it has no upper end.

    Given the sum of two Poisson counts, one of them is binomial (Przyborowski and Wilenski 1940).
    """
    test = scipy.stats.binomtest(after[0], after[0] + before[0]).proportion_ci(CONFIDENCE, method="exact")
    scale = before[1] / after[1]
    low, high = (
        share / (1 - share) * scale if share < 1 else float("inf") for share in (float(test.low), float(test.high))
    )
    return after[0] / before[0] * scale if before[0] else float("inf"), low, high
