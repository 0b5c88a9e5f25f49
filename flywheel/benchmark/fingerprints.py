"""Fingerprints: by what a case is recognised when it turns up in training data, in whatever dress.

What goes here: the marks of one protected text and its calls, as columns of the `benchmark` and `held_out` tables, so that a case
and its fingerprints are one commit. What does not: the search for them (`leaks.py`).

    conversations   of the case, and of the production run it was made from with its near-duplicate group
    exact           hash of what the customer says, ids and numbers masked
    shingles        its word 3-grams, masked: a templated twin with another order number shares them
    bands           MinHash bands of the unmasked text; candidates are confirmed by true Jaccard
    user_ngrams     its word 8-grams, unmasked: a passage quoted inside something else shares one
    call_ngrams     word 8-grams of the canonical calls expected; such as consist of the tools' own words say nothing
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import xxhash

from flywheel.benchmark.cases import Case
from flywheel.similarity import minhash
from flywheel.similarity.near_duplicates import shingles
from flywheel.toolcalls.arguments import parse_arguments, sha256_of

# Below this many words a text says too little to be someone's near-duplicate ("thanks a lot"); it is compared exactly,
# and only when it is a whole conversation's text.
MINIMUM_WORDS = 5
NGRAM_WORDS = 8
FINGERPRINT_VERSION = f"2/minhash-{minhash.VERSION}"
COLUMNS = (
    "fingerprint_version",
    "user_text",
    "conversations",
    "exact",
    "shingles",
    "bands",
    "user_ngrams",
    "call_ngrams",
)
_SHINGLE_WORDS = 3
# An 8-gram of calls is somebody's only when it holds at least so many words that are not the tools' own.
_FREE_WORDS = 3

Call = tuple[str, dict[str, Any]]


def masked(text: str) -> str:
    """Text with e-mails, ids and numbers replaced by a placeholder and punctuation dropped, case folded."""
    text = re.sub(r"(?<!\S)\S+@\S+", " @mail ", text.casefold())
    text = re.sub(r"\b(?=\w*\d)[\w-]+\b", " #id ", text)
    return " ".join(re.findall(r"[#@]?\w+", text))


def masked_shingles(text: str) -> set[int]:
    """Shingles (3 words) of the masked text; empty for texts too short to compare."""
    plain = masked(text)
    return shingles(plain, _SHINGLE_WORDS) if len(plain.split()) >= MINIMUM_WORDS else set()


def user_ngrams(text: str) -> set[int]:
    """64-bit hashes of the word 8-grams of a text, case and punctuation ignored; a shorter text has none."""
    return _ngrams(_words(text))


def call_ngrams(calls: Iterable[Call], vocabulary: frozenset[str] = frozenset()) -> set[int]:
    """The same of canonical (tool, arguments); 8-grams with under three words outside `vocabulary` are left out."""
    found: set[int] = set()
    for name, arguments in calls:
        words = _words(f"{name} {json.dumps(arguments, ensure_ascii=False, sort_keys=True)}")
        found |= _ngrams(words, vocabulary)
    return found


def calls_in(messages: Iterable[dict[str, Any]]) -> list[Call]:
    """Name and parsed arguments of every call in the messages; arguments that are no object count as empty."""
    return [
        (call["function"]["name"], parse_arguments(call["function"]["arguments"]).value or {})
        for message in messages
        for call in message.get("tool_calls") or []
    ]


def tool_vocabulary(tools: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Words that stand in the tools themselves: names, parameters, enum values, types."""
    return frozenset(_words(json.dumps([tool["function"] for tool in tools], ensure_ascii=False)))


def case_text(case: Case) -> str:
    """What the customer says in a case, one line a message, scripted replies included."""
    said = [str(message.get("content") or "") for message in case.messages if message["role"] == "user"]
    if case.expectation.kind == "episode":
        said += case.expectation.replies
    return "\n".join(said)


def case_calls(case: Case) -> list[Call]:
    """The calls a case expects, exact values only, and those in its history."""
    expectation, calls = case.expectation, calls_in(case.messages)
    if expectation.kind == "call":
        calls += [
            (call.name, {key: rule["exact"] for key, rule in call.arguments.items() if "exact" in rule})
            for call in expectation.calls
        ]
    elif expectation.kind == "episode":
        calls += [(action.name, action.arguments) for action in expectation.actions]
    return calls


def fingerprints(case: Case, vocabulary: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fingerprint columns of one case, `case_id` with them."""
    conversations = [case.id, *(case.origin.conversations if case.origin else [])]
    marks = fingerprints_of(case_text(case), case_calls(case), conversations, vocabulary)
    return {"case_id": case.id, **marks}


def fingerprints_of(
    text: str, calls: Iterable[Call], conversations: Sequence[str], vocabulary: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """The fingerprint columns (COLUMNS) of any protected text with its calls and conversations."""
    (keys,) = minhash.bands(pl.Series([text]))
    return {
        "fingerprint_version": FINGERPRINT_VERSION,
        "user_text": text,
        "conversations": json.dumps(list(dict.fromkeys(conversations))),
        "exact": sha256_of(masked(text)) if masked(text) else "",
        "shingles": json.dumps(sorted(masked_shingles(text))),
        "bands": json.dumps([] if keys is None else keys.to_list()),
        "user_ngrams": json.dumps(sorted(user_ngrams(text))),
        "call_ngrams": json.dumps(sorted(call_ngrams(calls, vocabulary))),
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _ngrams(words: Sequence[str], vocabulary: frozenset[str] | None = None) -> set[int]:
    return {
        xxhash.xxh64_intdigest(" ".join(part).encode())
        for start in range(len(words) - NGRAM_WORDS + 1)
        if (part := words[start : start + NGRAM_WORDS])
        and (vocabulary is None or sum(word not in vocabulary for word in part) >= _FREE_WORDS)
    }
