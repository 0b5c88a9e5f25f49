"""Did the cases gain that this week's corrections were made for?

One of the two ways to be promoted: not worse overall, and better where it was meant to be. The gain counts when its
one-sided 97.5 % lower bound is above zero: a merely positive estimate promotes an identical model 19 to 43 % of the time.
Too few targeted cases, or a ceiling, are excused and said so (design.md 8.4); then non-inferiority stands alone and is held
to a stricter level, 1 %.
"""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import polars as pl

from flywheel.promotion.evidence import compared, in_words

TARGETED_MINIMUM, TARGETED_CEILING = 20, 0.95
ALONE_LEVEL = 0.01


class Targeted(NamedTuple):
    """Whether the targeted cases gained, or why nobody could tell, in words and numbers."""

    state: Literal["gained", "no gain", "excused"]
    reason: str
    details: dict[str, Any]


def targeted(pairs: pl.DataFrame, ids: Collection[str]) -> Targeted:
    """Judge the cases of `pairs` whose id is in `ids`."""
    part = pairs.filter(pl.col("case_id").is_in(list(ids)))
    if part.height < TARGETED_MINIMUM:
        reason = f"only {part.height} targeted cases (fewer than {TARGETED_MINIMUM}): non-inferiority suffices, at 99 %"
        return Targeted("excused", reason, {"n": part.height})
    rate = float(part["incumbent"].sum()) / part.height
    if rate >= TARGETED_CEILING:
        reason = f"the incumbent solves {rate:.0%} of {part.height} targeted cases: non-inferiority suffices, at 99 %"
        return Targeted("excused", reason, {"n": part.height, "incumbent": rate})
    gain = compared(part)
    details = {"n": gain.n, "incumbent": rate, "difference": gain.mean, "lower": gain.lower, "upper": gain.upper}
    return Targeted("gained" if gain.lower > 0 else "no gain", f"targeted cases: {in_words(gain)}", details)
