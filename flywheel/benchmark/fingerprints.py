"""The leak registry: what must never train, and the search for it.

Every case ever frozen leaves three kinds of fingerprints: the exact normalised text of what the customer says, the
word shingles of it with ids and numbers masked (so that a templated twin with another order number is caught), and its
conversation id. The registry is append-only: a case that leaves the benchmark stays barred.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.similarity.near_duplicates import shingles
from flywheel.toolcalls.arguments import sha256_of

THRESHOLD = 0.5
# Below this many words a text says too little to be someone's near-duplicate ("thanks a lot"); it is compared exactly,
# and only when it is a whole conversation's text.
MINIMUM_WORDS = 5
_SHINGLE_WORDS = 3


class LeakCandidate(NamedTuple):
    """One training row as the search sees it: its id, its conversation, and what the customer said in its history."""

    row_id: str
    conversation_id: str
    user_text: str


class Leak(NamedTuple):
    """One training row that touches a case: kind is exact, shingles or conversation; similarity is 0 to 1."""

    row_id: str
    case_id: str
    kind: str
    similarity: float


def masked(text: str) -> str:
    """Text with e-mails, ids and numbers replaced by a placeholder and punctuation dropped, case folded."""
    text = re.sub(r"\S+@\S+", " @mail ", text.casefold())
    text = re.sub(r"\b(?=\w*\d)[\w-]+\b", " #id ", text)
    return " ".join(re.findall(r"[#@]?\w+", text))


def masked_shingles(text: str) -> set[int]:
    """Shingles (3 words) of the masked text; empty for texts too short to compare."""
    plain = masked(text)
    return shingles(plain, _SHINGLE_WORDS) if len(plain.split()) >= MINIMUM_WORDS else set()


def case_text(case: Case) -> str:
    """What the customer says in a case, one line a message, scripted replies included."""
    said = [str(message.get("content") or "") for message in case.messages if message["role"] == "user"]
    if case.expectation.kind == "episode":
        said += case.expectation.replies
    return "\n".join(said)


def fingerprints(case: Case) -> list[dict[str, Any]]:
    """BENCHMARK_FINGERPRINTS rows (without the workflow) of one case."""
    text = case_text(case)
    values = {
        "exact": sha256_of(masked(text)),
        "shingles": json.dumps(sorted(masked_shingles(text))),
        "conversation": case.id,
    }
    return [
        {"fingerprint_id": sha256_of([case.id, kind, value])[:16], "case_id": case.id, "kind": kind, "value": value}
        for kind, value in values.items()
    ]


def find_leaks(
    registry: pl.DataFrame, candidates: Sequence[LeakCandidate], *, threshold: float = THRESHOLD
) -> list[Leak]:
    """Candidates that touch any case of the registry, at most one leak a candidate, the closest.

    Near-duplicate: at least `threshold` of the shorter text's masked shingles are shared (containment), so a case quoted
    inside a longer conversation is found as well.
    """
    by_kind = {kind: registry.filter(kind=kind) for kind in ("exact", "shingles", "conversation")}
    exact = dict(zip(by_kind["exact"]["value"], by_kind["exact"]["case_id"], strict=True))
    conversations = set(by_kind["conversation"]["value"])
    index, sizes = _inverted(by_kind["shingles"])
    leaks: list[Leak] = []
    for candidate in candidates:
        leak = _leak_of(candidate, exact, conversations, index, sizes, threshold)
        if leak:
            leaks.append(leak)
    return leaks


def _inverted(rows: pl.DataFrame) -> tuple[dict[int, list[str]], dict[str, int]]:
    index: dict[int, list[str]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for case_id, value in zip(rows["case_id"], rows["value"], strict=True):
        of_case = json.loads(value)
        sizes[case_id] = len(of_case)
        for shingle in of_case:
            index[shingle].append(case_id)
    return index, sizes


def _leak_of(
    candidate: LeakCandidate, exact: dict[str, str], conversations: set[str], index: dict[int, list[str]],
    sizes: dict[str, int], threshold: float,
) -> Leak | None:  # fmt: skip
    if candidate.conversation_id in conversations:
        return Leak(candidate.row_id, candidate.conversation_id, "conversation", 1.0)
    text_hash = sha256_of(masked(candidate.user_text))
    if text_hash in exact:
        return Leak(candidate.row_id, exact[text_hash], "exact", 1.0)
    mine = masked_shingles(candidate.user_text)
    shared: dict[str, int] = defaultdict(int)
    for shingle in mine:
        for case_id in index.get(shingle, ()):
            shared[case_id] += 1
    if not shared:
        return None
    closest = max(shared, key=lambda case_id: (shared[case_id] / min(len(mine), sizes[case_id]), case_id))
    similarity = shared[closest] / min(len(mine), sizes[closest])
    return Leak(candidate.row_id, closest, "shingles", similarity) if similarity >= threshold else None
