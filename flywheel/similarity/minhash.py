"""MinHash bands of many texts at once: word 5-gram hashes in polars, minima in numpy, no Python object a text.

Broder 1997 with banding: 60 permutations as 12 bands of 5, so a pair of Jaccard 0.8 meets in a band with probability 0.99, one
of 0.5 with 0.32; candidates are confirmed by true Jaccard in `near_duplicates.py`. Word hashes are xxh64 with fixed constants:
polars' own hash differs between versions and may not be stored.
"""

import numpy as np
import polars as pl
import xxhash

from flywheel.similarity.near_duplicates import SHINGLE_WORDS

BANDS, ROWS = 12, 5
VERSION = 1
_GENERATOR = np.random.default_rng(1997)
_A = _GENERATOR.integers(1, 2**32, BANDS * ROWS, dtype=np.uint32) | np.uint32(1)
_B = _GENERATOR.integers(0, 2**32, BANDS * ROWS, dtype=np.uint32)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_words: dict[str, int] = {}


def bands(texts: pl.Series) -> pl.Series:
    """List of 12 band keys (Int64) a text, null for a text without words; equal keys in one place mean a candidate pair."""
    frame = pl.DataFrame({"text": texts.fill_null("")}).with_row_index("row")
    words = (
        frame.select("row", pl.col("text").str.to_lowercase().str.split(" ").alias("word"))
        .explode("word")
        .filter(pl.col("word") != "")
    )
    if not words.height:
        return pl.Series("bands", [None] * len(texts), dtype=pl.List(pl.Int64))
    hashes = _word_hashes(words["word"])
    rows = words["row"].to_numpy()
    shingles, starts = _shingles(hashes, rows)
    signature = _minima(shingles, starts)
    keys = np.zeros((len(starts), BANDS), np.uint64)
    for row in range(ROWS):
        keys = keys * _MIX ^ signature[row::ROWS].T
    present = np.unique(rows)
    listed = pl.Series("bands", keys.view(np.int64)).cast(pl.List(pl.Int64))
    found = pl.DataFrame({"row": present.astype(np.uint32), "bands": listed})
    return frame.select("row").join(found, on="row", how="left", maintain_order="left")["bands"]


def _word_hashes(words: pl.Series) -> np.ndarray:
    """xxh64 of every word; each distinct word is hashed once, a week's vocabulary is small."""
    if len(_words) > 2_000_000:
        _words.clear()
    distinct = words.unique()
    table = np.fromiter((_hash(word) for word in distinct), np.uint64, len(distinct))
    lookup = pl.DataFrame({"word": distinct, "hash": table})
    return pl.DataFrame({"word": words}).join(lookup, on="word", how="left", maintain_order="left")["hash"].to_numpy()


def _hash(word: str) -> int:
    known = _words.get(word)
    if known is None:
        known = _words[word] = xxhash.xxh64_intdigest(word.encode())
    return known


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
    for number in range(BANDS * ROWS):
        np.minimum.reduceat(short * _A[number] + _B[number], starts, out=signature[number])
    return signature
