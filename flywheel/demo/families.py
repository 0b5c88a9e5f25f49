"""Which phrases the customers of a week know: every week people say things that nobody said before.

The first week and the demonstrations (`run`, `step`) know the phrases of `language.py` alone. Each list of later phrases is shuffled in
a fixed order and dealt out to weeks 2 to 10; week n knows what was dealt to weeks 2 to n. From week 2 on a draw is, with a chance of 0.6,
one of the later phrases: half of these are week n's own, half those of the weeks before (week 2 has none before it, so all are its own).
After week 10 nothing new appears, and all later phrases are alike.
"""

import random
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

FIRST_WEEK, LAST_NUMBER = "2026-01-05", 10
LATER_SHARE, OWN_SHARE = 0.6, 0.5


class Families(NamedTuple):
    """The phrases that week `number` knows; those of week 1 only, when it is 1 or less."""

    number: int

    def draw(self, rng: random.Random, first: Sequence[str], later: Sequence[str]) -> str:
        """One of the first week's phrases, or of the later ones that are known by now; the first week draws once, from `first`."""
        if self.number < 2 or rng.random() >= LATER_SHARE:
            return rng.choice(first)
        own, before = self.own(later), self.before(later)
        if not before or (own and rng.random() < OWN_SHARE):
            return rng.choice(own)
        return rng.choice(before)

    def own(self, later: Sequence[str]) -> list[str]:
        """The later phrases that appear in this very week."""
        return _dealt(later).get(self.number, [])

    def before(self, later: Sequence[str]) -> list[str]:
        """The later phrases that appeared in the weeks before this one."""
        return [phrase for number, dealt in _dealt(later).items() if number < self.number for phrase in dealt]


def families_of(week: str) -> Families:
    """The families that a week knows, or the demonstrations `run` and `step`."""
    if week in ("run", "step"):
        return Families(0)
    return Families((date.fromisoformat(week) - date.fromisoformat(FIRST_WEEK)).days // 7 + 1)


def _dealt(later: Sequence[str]) -> dict[int, list[str]]:
    """Number of the week -> the phrases that appear in it."""
    shuffled = list(later)
    random.Random("families").shuffle(shuffled)
    weeks = LAST_NUMBER - 1
    return {number: shuffled[number - 2 :: weeks] for number in range(2, LAST_NUMBER + 1)}
