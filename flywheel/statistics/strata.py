"""A rate over a population of which each part was sampled by itself: the parts' rates and intervals, joined by what they weigh.

Source: MOVER, Zou and Donner 2008 (Newcombe's square-and-add over any intervals): it needs no variance of a part that came out all alike.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """One part: its share of the population (any unit, the shares are scaled to 1), and its estimate with the ends of its interval."""

    weight: float
    estimate: float
    low: float
    high: float


class Joined(NamedTuple):
    """The weighted estimate with its interval, in the parts' unit."""

    estimate: float
    low: float
    high: float


def joined(parts: Sequence[Part]) -> Joined | None:
    """The estimate over the whole population; None where a part that weighs something is unknown, or nothing weighs anything.

    The parts' intervals have one level, and the result has it too.
    """
    weighing = [part for part in parts if part.weight > 0]
    total = math.fsum(part.weight for part in weighing)
    if not weighing or any(math.isnan(part.estimate) for part in weighing):
        return None
    shares = [part.weight / total for part in weighing]
    estimate = math.fsum(share * part.estimate for share, part in zip(shares, weighing, strict=True))
    down = math.sqrt(
        math.fsum((share * (part.estimate - part.low)) ** 2 for share, part in zip(shares, weighing, strict=True))
    )
    up = math.sqrt(
        math.fsum((share * (part.high - part.estimate)) ** 2 for share, part in zip(shares, weighing, strict=True))
    )
    return Joined(estimate, estimate - down, estimate + up)
