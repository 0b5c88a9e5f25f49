"""The system prompt that most runs carry, the wordings of one prompt kept together, and the part in which they differ.

A prompt with today's date or the customer's name in it is one prompt with a varying part; two agents' prompts are two. Wordings belong
together where their sets of five-word shingles overlap by half (Jaccard).
"""

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import NamedTuple

ALIKE = 0.5
_SHINGLE = 5
_COMPARED = 40  # wordings compared with the most frequent one, to find what varies
_FAMILIES = 200  # prompts of entirely different wording that are told apart; the rest joins the last
_SHOWN = 60


class Wordings(NamedTuple):
    """Prompts that are one prompt: each wording with the number of runs that carry it."""

    counts: Counter[str]

    @property
    def usual(self) -> str:
        """The wording that most runs carry; of equals the last one seen."""
        most = max(self.counts.values())
        return [text for text, count in self.counts.items() if count == most][-1]


def families(prompts: list[str]) -> tuple[list[Wordings], dict[str, int]]:
    """Prompts grouped by likeness, the most frequent group first; and prompt -> number of its group."""
    counts = Counter(prompts)
    groups: list[tuple[frozenset[str], list[str]]] = []
    for text, _ in counts.most_common():
        own = _shingles(text)
        near = next((members for head, members in groups if _alike(head, own)), None)
        if near is None and len(groups) < _FAMILIES:
            groups.append((own, near := []))
        (near if near is not None else groups[-1][1]).append(text)
    made = [Wordings(Counter({text: counts[text] for text in members})) for _, members in groups]
    made.sort(key=lambda wordings: -wordings.counts.total())
    return made, {text: number for number, wordings in enumerate(made) for text in wordings.counts}


def _shingles(text: str) -> frozenset[str]:
    words = re.sub(r"\d+", "0", text.lower()).split()  # a date or a number does not make another prompt
    return frozenset(" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1)))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    shared = len(one & other)
    return shared >= ALIKE * (len(one) + len(other) - shared)


def varying(wordings: Wordings) -> list[str]:
    """What differs from the usual wording: "old -> new" by how many wordings do so, at most three; empty for one wording."""
    usual = _words(wordings.usual)
    spans: Counter[tuple[int, int]] = Counter()
    example: dict[tuple[int, int], str] = {}
    for text in list(wordings.counts)[: _COMPARED + 1]:
        if text == wordings.usual:
            continue
        other = _words(text)
        for operation, i1, i2, j1, j2 in SequenceMatcher(None, usual, other, autojunk=False).get_opcodes():
            if operation != "equal":
                spans[i1, i2] += 1
                example.setdefault((i1, i2), f"{_cut(usual[i1:i2])} -> {_cut(other[j1:j2])}")
    return [f"{example[span]} (in {count} wordings)" for span, count in spans.most_common(3)]


def _words(text: str) -> list[str]:
    return text.split()[:4_000]


def _cut(words: list[str]) -> str:
    text = " ".join(words)
    return f"'{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}'"
