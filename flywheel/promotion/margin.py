"""The non-inferiority margin: how much worse a candidate may be, at most, and still be called not worse.

The default is what the benchmark's cases resolve (power 0.8, one-sided 5 %) when two equally good models differ on a given
share of them: n = discordance x (2.486 / margin)^2. The share is what the A/A run measured, and at least
`gate.discordance`: a greedy server may repeat itself to the letter while two trainings of one model do not. With 20 %:
7.2 points at 240 cases, 5.0 at 500. It is never above 8 points by default, for then a true loss of 10 points would pass
too often (see `simulation.py`). The first verdict on a benchmark core fixes it for the later ones.
"""

from typing import NamedTuple

from flywheel.statistics.paired import minimum_detectable_effect, points

MARGIN_LEVEL = 0.05
MAXIMUM_DEFAULT = 0.08


class Fixed(NamedTuple):
    """The margin under which a benchmark core was first judged, and the smallest that its cases resolved then; None where not recorded."""

    value: float
    smallest: float | None = None

    @property
    def was_resolved(self) -> bool:
        """Whether the cases could show a loss of this size to be absent when it was fixed."""
        return self.smallest is None or self.smallest <= self.value + 1e-9


class Margin(NamedTuple):
    """A margin and the smallest one that the cases resolve, both 0 to 1, where the margin comes from, and when it decides.

    `bears` is how large `smallest` may be for the margin to decide anything.
    """

    value: float
    smallest: float
    source: str
    bears: float

    @property
    def resolved(self) -> bool:
        """Whether the cases can show a loss of this size to be absent."""
        return self.smallest <= self.bears + 1e-9

    def sentence(self) -> str:
        """The margin in words."""
        ending = "" if self.resolved else f"; these cases resolve no less than {points(self.smallest)}"
        return f"margin {points(self.value)} ({self.source}){ending}"


def margin_for(cases: int, discordance: float, *, chosen: float | None, fixed: Fixed | None) -> Margin:
    """The margin in force for `cases` cases at a share `discordance` of differing ones.

    A fixed one that was resolved at first goes on deciding where a case was lost or the server is noisier than it was then, as long as
    a default of today would decide: it is the stricter of the two, and what the cases do not show, the interval says.

    Args:
        chosen: the pack's own margin, or None for the default.
        fixed: the margin under which this benchmark core was judged before, or None at its first verdict.
    """
    smallest = minimum_detectable_effect(cases, discordance, level=MARGIN_LEVEL)
    if fixed is not None:
        source = "fixed at this benchmark's first verdict"
        if chosen is not None and abs(chosen - fixed.value) > 1e-9:
            source = f"{source}; the pack now says {points(chosen)}"
        bears = max(fixed.value, MAXIMUM_DEFAULT) if fixed.was_resolved else fixed.value
        return Margin(fixed.value, smallest, source, bears)
    if chosen is not None:
        return Margin(chosen, smallest, "set by the pack", chosen)
    value = min(smallest, MAXIMUM_DEFAULT)
    return Margin(value, smallest, f"what {cases} cases resolve at {discordance:.0%} differing ones", value)
