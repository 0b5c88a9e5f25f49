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
# Pieces that stay in the processor's cache: passes over a whole chunk would each read it from memory.
_WORDS_AT_ONCE, _TEXTS_AT_ONCE = 16_384, 256


def bands(texts: pl.Series) -> pl.Series:
    """List of 12 band keys (Int32) a text, null for a text without words; equal keys in one place mean a candidate pair."""
    frame = pl.DataFrame({"text": texts.fill_null("")}).with_row_index("row")
    words = (
        frame.select("row", pl.col("text").str.to_lowercase().str.split(" ").alias("word"))
        .explode("word")
        .filter(pl.col("word") != "")
    )
    if not words.height:
        return pl.Series("bands", [None] * len(texts), dtype=pl.List(pl.Int32))
    hashes = _word_hashes(words["word"])
    rows = words["row"].to_numpy()
    shingles, starts = _shingles(hashes, rows)
    signature = _minima(shingles, starts)
    keys = np.zeros((len(starts), BANDS), np.uint64)
    for row in range(ROWS):
        keys = (keys ^ signature[row::ROWS].T) * _MIX  # the upper half of the product depends on all rows
    present = np.unique(rows)
    listed = pl.Series("bands", (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)).cast(pl.List(pl.Int32))
    found = pl.DataFrame({"row": present.astype(np.uint32), "bands": listed})
    return frame.select("row").join(found, on="row", how="left", maintain_order="left")["bands"]


def _word_hashes(words: pl.Series) -> np.ndarray:
    """64-bit hash of every word: its bytes times the powers of an odd constant, summed modulo 2^64 and mixed.

    All bytes at once, without a Python object a word. Words made to collide cost a comparison, never a false duplicate: candidates
    are confirmed by their texts.
    """
    text = words.to_arrow().cast(pa.large_string())
    offsets = np.frombuffer(text.buffers()[1], np.int64, len(words) + 1, text.offset * 8)
    letters = np.frombuffer(text.buffers()[2], np.uint8)
    hashed = np.empty(len(words), np.uint64)
    for begin in range(0, len(words), _WORDS_AT_ONCE):
        bounds = offsets[begin : begin + _WORDS_AT_ONCE + 1]
        starts = bounds[:-1] - bounds[0]
        place = np.arange(bounds[-1] - bounds[0]) - np.repeat(starts, np.diff(bounds))
        powers = np.cumprod(np.full(place.max(initial=0) + 1, _WORD, np.uint64), dtype=np.uint64)
        piece = letters[bounds[0] : bounds[-1]] * powers[place]
        np.add.reduceat(piece, starts, out=hashed[begin : begin + _WORDS_AT_ONCE])
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
