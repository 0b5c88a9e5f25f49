"""The independent scan: does the benchmark share material with what trains? It knows neither of the generators.

Two things are looked for in plain texts: five consecutive words that both sides use (apart from texts everybody shares,
such as the system prompt), and entities: ids, e-mail addresses, house-and-street pairs.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_ENTITY = re.compile(r"\b[A-Z]{1,4}\d{4,6}\b|\b[\w.]+@[\w.]+\b|\b\d{1,3} [A-Z][a-z]+ [A-Z][a-z]+\b")
_WORDS = 5


class Shared(NamedTuple):
    """One piece of material both sides have: its kind (words or entity) and text."""

    kind: str
    text: str


def shared_material(benchmark: Iterable[str], training: Iterable[str], *, common: Iterable[str] = ()) -> set[Shared]:
    """Everything the benchmark's user texts share with the training side's, apart from what stands in `common` texts."""
    known = _material(common)
    return (_material(benchmark) & _material(training)) - known


def _material(texts: Iterable[str]) -> set[Shared]:
    found: set[Shared] = set()
    for text in texts:
        words = re.findall(r"[a-z']+", text.casefold())
        found |= {Shared("words", " ".join(words[at : at + _WORDS])) for at in range(len(words) - _WORDS + 1)}
        found |= {Shared("entity", match.casefold()) for match in _ENTITY.findall(text)}
    return found
