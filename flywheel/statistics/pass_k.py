"""pass^k: the chance that a case succeeds in each of k independent runs, which is what a customer who calls k times meets.

Estimated from n >= k runs of each case, c of them successes, as the mean over cases of C(c, k) / C(n, k): the share of the
k-subsets of its runs that all succeed (tau-bench, Yao et al. 2024, arXiv:2406.12045). Unbiased for each case; (c/n)^k is
not, it is too high. For k above n nothing can be said.
"""

import math
from collections.abc import Sequence

from flywheel.errors import FlywheelError
from flywheel.statistics.paired import Interval, clustered_rate


def case_pass_k(successes: int, runs: int, k: int) -> float:
    """Share of the k-subsets of a case's `runs` that all succeed, 0 to 1; raises FlywheelError for fewer runs than k."""
    if k < 1 or runs < k or not 0 <= successes <= runs:
        raise FlywheelError(
            f"pass^{k} cannot be estimated from {successes} successes in {runs} runs",
            remedy="k is at least 1 and at most the number of runs of each case; raise evaluation.epochs",
        )
    return math.comb(successes, k) / math.comb(runs, k)


def pass_k(runs_by_case: Sequence[Sequence[bool]], k: int, clusters: Sequence[str] | None = None) -> Interval:
    """pass^k over cases with a clustered 95 % interval.

    Args:
        runs_by_case: for each case the success of each of its runs; the numbers of runs may differ.
        clusters: the cluster of each case; None: every case is its own.

    The interval is that of the mean over cases: a case is one observation, however often it ran. n is the number of cases.
    NaN without cases. Raises FlywheelError where a case ran less than k times: leave it out and say so, or ask for a smaller k.
    """
    if not runs_by_case:
        return Interval(math.nan, math.nan, math.nan, 0)
    shares = [case_pass_k(sum(runs), len(runs), k) for runs in runs_by_case]
    return clustered_rate(shares, clusters if clusters is not None else [str(n) for n in range(len(shares))])
