"""MinHash bands: the same on every machine and in any company, and near texts meet in one."""

import random

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.similarity.minhash import BANDS, VERSION, _word_hashes, bands

WORDS = [f"word{number}" for number in range(3_000)]
TEXTS = st.lists(st.text(alphabet="abcé€ \u4e2d", max_size=30), min_size=1, max_size=8)


def test_constants_are_pinned_because_keys_are_stored():
    (keys,) = bands(pl.Series(["the quick brown fox jumps over the lazy dog"]))
    assert (VERSION, keys[:2].to_list()) == (3, [-2087021057, -1734998712])


@settings(max_examples=100)
@given(TEXTS)
def test_a_text_has_the_same_keys_alone_and_in_company(texts: list[str]):
    together = bands(pl.Series(texts, dtype=pl.String))
    for text, keys in zip(texts, together, strict=True):
        (alone,) = bands(pl.Series([text], dtype=pl.String))
        assert (keys is None) == (not text.strip(" ")) == (alone is None)
        assert keys is None or keys.to_list() == alone.to_list() and len(keys) == BANDS


def test_word_hashes_are_what_their_definition_says_also_past_a_piece_and_the_kept_powers():
    words = ["a", "é", *WORDS, *WORDS, "x" * 70_000, "end"]
    text = np.frombuffer(" ".join(words).encode(), np.uint8)
    ends = np.cumsum([len(word.encode()) + 1 for word in words]) - 1
    hashed = _word_hashes(text, np.r_[0, ends[:-1] + 1], ends)
    for word, found in zip(words, hashed.tolist(), strict=True):
        total = sum(byte * pow(0x100000001B3, place, 2**64) for place, byte in enumerate(word.encode(), 1)) % 2**64
        assert found == (total ^ total >> 29) * 0x9E3779B97F4A7C15 % 2**64


def test_near_texts_meet_in_a_band_and_others_do_not():
    rng = random.Random(0)
    originals = [rng.choices(WORDS, k=60) for _ in range(300)]
    changed = [[*words[:-2], "other", "end"] for words in originals]
    keys = bands(pl.Series([" ".join(words) for words in (*originals, *changed)])).to_list()
    met = sum(any(a == b for a, b in zip(keys[n], keys[300 + n], strict=True)) for n in range(300))
    strange = sum(any(a == b for a, b in zip(keys[n], keys[n + 1], strict=True)) for n in range(299))
    assert met >= 295 and strange <= 1
