"""The hash of a table's rows, whatever their order and however they were cut into files or batches."""

import hashlib
from collections.abc import Iterable

import polars as pl

_MODULUS = 1 << 256


def content_sha256(frame: pl.DataFrame) -> str:
    """Hash of a frame's rows, independent of their order and of when they were written."""
    if not frame.height or not frame.width:
        return content_of([])
    texts = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return content_of(hashlib.sha256(text.encode()).digest() for text in texts)


def content_of(digests: Iterable[bytes]) -> str:
    """Hash of a multiset of rows by their digests: their sum, so that order and cutting do not count."""
    count = total = 0
    for digest in digests:
        count, total = count + 1, (total + int.from_bytes(digest)) % _MODULUS
    return hashlib.sha256(f"{count} {total:x}".encode()).hexdigest()
