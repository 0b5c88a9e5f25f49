"""The A/A run: the incumbent against itself in one server session, the floor of what a comparison can see.

Two runs of one model differ on some cases (batching, kernels); a difference between two models is only worth as much as
this noise is small. When the incumbent is significantly better or worse than itself, the session measured something else
than the models, and nothing in it can be believed. What was measured is kept in the `promotion` table; a session without an
A/A run may rest on one of the last four weeks (`history.py`).
"""

from typing import NamedTuple

import polars as pl

from flywheel.promotion.evidence import case_means, compared
from flywheel.statistics.paired import rate

A_A_LEVEL = 0.01  # on each side: at most one sound session in fifty is thrown away
VALID_WEEKS = 4


class Noise(NamedTuple):
    """Two runs of one model: cases run twice, how many came out differently, the difference with its 95 % interval.

    `verdict` is REJECT when the model differs from itself more than chance explains, else SAME; `week` says when it was
    measured, where that was not in this session.
    """

    cases: int
    flipped: int
    difference: float
    lower: float
    upper: float
    verdict: str
    week: str | None = None

    def share(self) -> float:
        """Share of the repeated cases that flipped, 0 to 1."""
        return self.flipped / self.cases

    def sentence(self) -> str:
        """What the A/A run showed, in words."""
        when = f" in week {self.week}" if self.week else ""
        interval = (
            f"{100 * self.difference:+.1f} points, 95 % interval {100 * self.lower:+.1f} to {100 * self.upper:+.1f}"
        )
        return f"A/A run of the incumbent{when}: {rate(self.flipped, self.cases)} flipped; {interval}"


def measured(first: pl.DataFrame, again: pl.DataFrame) -> Noise | None:
    """Noise from EVAL_RESULTS rows of the incumbent and of its second run; None when no case has a score in both."""
    about = first.select("case_id", "case_cluster").unique("case_id")
    both = case_means(again, "candidate").join(case_means(first, "incumbent"), on="case_id").join(about, on="case_id")
    if not both.height:
        return None
    both = both.sort("case_id")
    strict, plain = compared(both, level=A_A_LEVEL), compared(both)
    verdict = "REJECT" if strict.upper < 0 or strict.lower > 0 else "SAME"
    flipped = both.filter(pl.col("candidate") != pl.col("incumbent")).height
    return Noise(both.height, flipped, plain.mean, plain.lower, plain.upper, verdict)
