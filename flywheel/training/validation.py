"""Which supervised rows are kept out of training to say when it stops helping. No torch here."""

import hashlib

import polars as pl

FEWEST = 20


def split_validation(sft: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to train on, and about `share` of the near-duplicate groups to validate on; no group or conversation in both.

    A group keeps its side as data grows: the split is by the hash of its name. Under `FEWEST` validation rows there are
    none: so few say nothing about when to stop.
    """
    held_groups = sft.filter(pl.col("near_duplicate_group").map_elements(_unit, return_dtype=pl.Float64) < share)
    held = sft.filter(pl.col("conversation_id").is_in(held_groups["conversation_id"].implode()))
    # A conversation pulls its other groups along.
    held = sft.filter(pl.col("near_duplicate_group").is_in(held["near_duplicate_group"].implode()))
    if held.height < FEWEST:
        return sft, sft.clear()
    return sft.join(held, on="row_id", how="anti"), held


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
