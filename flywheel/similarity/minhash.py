"""MinHash bands of many texts at once: word 5-gram hashes in polars, minima in numpy, no Python object a text.

Broder 1997 with banding: 60 permutations as 12 bands of 5, so a pair of Jaccard 0.8 meets in a band with probability 0.99, one
of 0.5 with 0.32; candidates are confirmed by true Jaccard in `near_duplicates.py`. Constants are fixed and word hashes our own:
polars' own hash differs between versions and may not be stored.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from flywheel.similarity.near_duplicates import SHINGLE_WORDS

BANDS, ROWS = 12, 5
VERSION = 3
_GENERATOR = np.random.default_rng(1997)
_A = _GENERATOR.integers(1, 2**32, BANDS * ROWS, dtype=np.uint32) | np.uint32(1)
_B = _GENERATOR.integers(0, 2**32, BANDS * ROWS, dtype=np.uint32)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_WORD = np.uint64(0x100000001B3)  # the prime of FNV
_INVERSE = np.uint64(pow(0x100000001B3, -1, 2**64))
# Pieces that stay in the processor's cache: passes over a whole chunk would each read it from memory.
_WORDS_AT_ONCE, _TEXTS_AT_ONCE = 4_096, 256


def _powers(base: np.uint64, count: int) -> np.ndarray:
    """base^1, base^2 and so on, modulo 2^64."""
    return np.cumprod(np.full(count, base, np.uint64), dtype=np.uint64)


_POWERS, _INVERSES = _powers(_WORD, 65_536), np.r_[np.uint64(1), _powers(_INVERSE, 65_535)]


def bands(texts: pl.Series) -> pl.Series:
    """List of 12 band keys (Int32) a text, null for a text without words; equal keys in one place mean a candidate pair."""
    hashes, rows = _words(texts.fill_null(""))
    if not len(hashes):
        return pl.Series("bands", [None] * len(texts), dtype=pl.List(pl.Int32))
    shingles, starts = _shingles(hashes, rows)
    signature = _minima(shingles, starts)
    keys = np.zeros((len(starts), BANDS), np.uint64)
    for row in range(ROWS):
        keys = (keys ^ signature[row::ROWS].T) * _MIX  # the upper half of the product depends on all rows
    listed = pl.Series("bands", (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)).cast(pl.List(pl.Int32))
    present = np.zeros(len(texts), bool)
    present[rows] = True
    if present.all():
        return listed
    return listed.gather(pl.Series(np.where(present, np.cumsum(present) - 1, -1)).replace(-1, None))


def _words(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all words in order, and which text each is of; words are what spaces part, in lower case."""
    if not len(texts):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    lowered = texts.str.to_lowercase()
    joined = lowered.str.join(" ").to_arrow().cast(pa.large_string())
    first, last = np.frombuffer(joined.buffers()[1], np.int64, 2, joined.offset * 8)
    letters = np.frombuffer(joined.buffers()[2], np.uint8, last - first, first)
    cuts = np.flatnonzero(letters == ord(" "))
    starts, ends = np.r_[0, cuts + 1], np.r_[cuts, len(letters)]
    closing = np.cumsum(lowered.str.len_bytes().to_numpy().astype(np.int64) + 1) - 1  # the space after each text
    rows = np.repeat(np.arange(len(texts)), np.diff(np.searchsorted(ends, closing, side="right"), prepend=0))
    words = ends > starts
    return _word_hashes(letters, starts[words], ends[words]), rows[words]


def _word_hashes(letters: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """64-bit hash of every word: its bytes times the powers of an odd constant, summed modulo 2^64 and mixed.

    Differences of running sums, times the inverse of the power they begin with: passes over bytes without a Python object a word.
    Words made to collide cost a comparison, never a false duplicate: candidates are confirmed by their texts.
    """
    hashed = np.empty(len(starts), np.uint64)
    for begin in range(0, len(starts), _WORDS_AT_ONCE):
        some = slice(begin, begin + _WORDS_AT_ONCE)
        lowest = starts[some][0]
        opened, closed = starts[some] - lowest, ends[some] - lowest
        size = closed[-1]
        powers, inverses = (
            (_POWERS, _INVERSES)
            if size <= len(_POWERS)
            else (_powers(_WORD, size), np.r_[np.uint64(1), _powers(_INVERSE, size)])
        )
        sums = np.zeros(size + 1, np.uint64)
        np.cumsum(letters[lowest : lowest + size] * powers[:size], out=sums[1:])
        hashed[some] = (sums[closed] - sums[opened]) * inverses[opened]
    hashed ^= hashed >> np.uint64(29)
    return hashed * _MIX


def _shingles(hashes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all word 5-grams in order, and where each text's begin; a shorter text has one of all its words."""
    n = len(hashes)
    mixed = hashes.copy()
    first = np.r_[True, rows[1:] != rows[:-1]]
    same = np.ones(n, bool)
    for step in range(1, SHINGLE_WORDS):
        following = np.zeros(n, np.uint64)
        inside = np.zeros(n, bool)
        if n > step:
            inside[:-step] = rows[step:] == rows[:-step]
            following[:-step] = hashes[step:]
        following[~inside] = 0
        mixed = mixed * _MIX ^ following
        same = inside
    keep = same | first
    kept_rows = rows[keep]
    return mixed[keep], np.flatnonzero(np.r_[True, kept_rows[1:] != kept_rows[:-1]])


def _minima(shingles: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(permutations, texts) minima of multiply-add permutations modulo 2^32."""
    short = (shingles >> np.uint64(32)).astype(np.uint32)
    signature = np.empty((BANDS * ROWS, len(starts)), np.uint32)
    for begin in range(0, len(starts), _TEXTS_AT_ONCE):
        end = min(begin + _TEXTS_AT_ONCE, len(starts))
        piece = short[starts[begin] : starts[end] if end < len(starts) else None]
        places, hashed = starts[begin:end] - starts[begin], np.empty_like(piece)
        for number in range(BANDS * ROWS):
            np.multiply(piece, _A[number], out=hashed)
            np.add(hashed, _B[number], out=hashed)
            np.minimum.reduceat(hashed, places, out=signature[number, begin:end])
    return signature
