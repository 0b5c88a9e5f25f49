"""The leak search: does a training row touch anything that evaluates the model, or ever did?

What goes here: rows against the fingerprints of every case ever frozen and every row ever held out. What does not: how
fingerprints are made (`fingerprints.py`).
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.fingerprints import COLUMNS, Call, call_ngrams, calls_in, masked, masked_shingles, user_ngrams
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.similarity.minhash import bands
from flywheel.similarity.near_duplicates import jaccard, shingles
from flywheel.toolcalls.arguments import sha256_of

# Share of the shorter text's masked 3-grams that two texts may not have in common.
THRESHOLD = 0.5
NEAR_DUPLICATE = 0.8


class LeakCandidate(NamedTuple):
    """One training row as the search sees it: its id, its conversation, what the customer said, and the calls it teaches."""

    row_id: str
    conversation_id: str
    user_text: str
    calls: Sequence[Call] = ()


class Leak(NamedTuple):
    """One training row that touches a case.

    `kind` is conversation, exact, near_duplicate, shingles, user_ngrams or call_ngrams; similarity is 0 to 1.
    """

    row_id: str
    case_id: str
    kind: str
    similarity: float

    def __str__(self) -> str:
        return f"row {self.row_id} ~ case {self.case_id} ({self.kind}, {self.similarity:.2f})"


def read_registry(lake: Lake, workflow: str) -> pl.DataFrame:
    """Fingerprints of every case ever frozen, retired ones included, of every draft, and of every row ever held out.

    Columns: `case_id` and COLUMNS.

    Raises MissingPartition when no benchmark was ever frozen.
    """
    cases = lake.read_partition("benchmark", workflow=workflow).select("case_id", *COLUMNS)
    held_out = lake.read_weeks("held_out", workflow=workflow).select(pl.col("row_id").alias("case_id"), *COLUMNS)
    drafts = lake.read_weeks("benchmark_drafts", workflow=workflow).select("case_id", *COLUMNS)
    frozen = cases["case_id"].implode()
    return pl.concat([cases, drafts.filter(~pl.col("case_id").is_in(frozen)), held_out])


def find_leaks(
    registry: "pl.DataFrame | Registry", candidates: Sequence[LeakCandidate], *, threshold: float = THRESHOLD
) -> list[Leak]:
    """Candidates that touch any case of the registry, at most one leak a candidate, the most certain kind first.

    Twins: at least `threshold` of the shorter text's masked shingles are shared (containment), so a case quoted inside a longer
    conversation is found as well.
    """
    known = registry if isinstance(registry, Registry) else Registry(registry)
    keys = bands(pl.Series([candidate.user_text for candidate in candidates], dtype=pl.String))
    found = (known.leak(candidate, mine, threshold) for candidate, mine in zip(candidates, keys, strict=True))
    return [leak for leak in found if leak]


def row_candidate(row: dict[str, Any]) -> LeakCandidate:
    """A row of `sft_dataset` or `preference_dataset` as the search wants it."""
    messages = json.loads(row["messages"])
    said = "\n".join(str(message.get("content") or "") for message in messages if message["role"] == "user")
    taught = json.loads(row["target"] if "target" in row else row["chosen"])
    return LeakCandidate(row["row_id"], row["conversation_id"], said, calls_in([*messages, taught]))


def leaks_in(rows: pl.DataFrame, registry: "pl.DataFrame | Registry") -> list[Leak]:
    """Rows of a written dataset that touch the benchmark: the proof that there are none."""
    return find_leaks(registry, [row_candidate(row) for row in rows.iter_rows(named=True)])


def refuse_leaks(leaks: Sequence[Leak], table: str) -> None:
    """Raise FlywheelError naming rows and cases when there is a leak."""
    if leaks:
        named = "; ".join(map(str, leaks[:5]))
        raise FlywheelError(f"{len(leaks)} training rows touch the benchmark: {named}", where=table,
                            remedy="rematerialize sft_dataset, which bars them; never edit its rows")  # fmt: skip


class Registry:
    """The registry's rows (see `read_registry`), indexed once by each kind of mark for several searches."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.exact: dict[str, str] = {}
        self.conversations: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.shingles: dict[int, list[str]] = defaultdict(list)
        self.bands: dict[tuple[int, int], list[str]] = defaultdict(list)
        self.user_ngrams: dict[int, str] = {}
        self.call_ngrams: dict[int, str] = {}
        for row in rows.sort("case_id").iter_rows(named=True):
            self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        case_id = row["case_id"]
        if row["exact"]:
            self.exact.setdefault(row["exact"], case_id)
        for conversation in json.loads(row["conversations"]):
            self.conversations.setdefault(conversation, case_id)
        of_case = json.loads(row["shingles"])
        self.texts[case_id], self.sizes[case_id] = row["user_text"], len(of_case)
        for shingle in of_case:
            self.shingles[shingle].append(case_id)
        for band, key in enumerate(json.loads(row["bands"])):
            self.bands[band, key].append(case_id)
        for marks, value in ((self.user_ngrams, row["user_ngrams"]), (self.call_ngrams, row["call_ngrams"])):
            for ngram in json.loads(value):
                marks.setdefault(ngram, case_id)

    def leak(self, candidate: LeakCandidate, keys: pl.Series | None, threshold: float) -> Leak | None:
        """The most certain leak of one candidate."""
        text = candidate.user_text
        if case_id := self.conversations.get(candidate.conversation_id):
            return Leak(candidate.row_id, case_id, "conversation", 1.0)
        plain = masked(text)
        if plain and (case_id := self.exact.get(sha256_of(plain))):
            return Leak(candidate.row_id, case_id, "exact", 1.0)
        if near := self._near(text, keys):
            return Leak(candidate.row_id, near[1], "near_duplicate", near[0])
        twin = self._twin(masked_shingles(text))
        if twin and twin[0] >= threshold:
            return Leak(candidate.row_id, twin[1], "shingles", twin[0])
        for kind, known, mine in (
            ("user_ngrams", self.user_ngrams, user_ngrams(text)),
            ("call_ngrams", self.call_ngrams, call_ngrams(candidate.calls)),
        ):
            if shared := sorted(known[ngram] for ngram in mine if ngram in known):
                return Leak(candidate.row_id, shared[0], kind, len(shared) / len(mine))
        return None

    def _near(self, text: str, keys: pl.Series | None) -> tuple[float, str] | None:
        if keys is None:
            return None
        rivals = {case for band, key in enumerate(keys) for case in self.bands.get((band, key), ())}
        mine = shingles(text)
        measured = sorted((jaccard(mine, shingles(self.texts[case])), case) for case in rivals)
        return measured[-1] if measured and measured[-1][0] >= NEAR_DUPLICATE else None

    def _twin(self, mine: set[int]) -> tuple[float, str] | None:
        shared: dict[str, int] = defaultdict(int)
        for shingle in mine:
            for case_id in self.shingles.get(shingle, ()):
                shared[case_id] += 1
        measured = [(count / min(len(mine), self.sizes[case]), case) for case, count in shared.items()]
        return max(measured, default=None)
