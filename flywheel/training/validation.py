"""Which supervised rows are kept out of training to say when it stops helping. No torch here."""

import hashlib

import polars as pl

FEWEST = 20
# The split goes by the hash of names, so the share it draws varies; a draw beyond this many times the share is cut off there.
_MOST_OF_SHARE = 2


def split_validation(sft: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to train on, and about `share` of them to validate on; no near-duplicate group or conversation in both.

    Rows stay together along groups and conversations, however long the chain. A set of rows that belong together goes by the hash of
    its name, so it keeps its side as data grows; sets that would bring validation to twice the share or more train, so
    there is always something to train on. Under `FEWEST` validation rows there are none: so few say nothing about when to stop.
    """
    together = _together(sft)
    drawn = sorted((_unit(name), name, rows) for name, rows in together.value_counts().iter_rows())
    held, room = [], min(_MOST_OF_SHARE * share, 1) * sft.height
    for unit, name, rows in drawn:
        if unit < share and rows < room:
            held.append(name)
            room -= rows
    validation = sft.filter(together.is_in(held))
    if validation.height < FEWEST:
        return sft, sft.clear()
    return sft.filter(~together.is_in(held)), validation


def _together(sft: pl.DataFrame) -> pl.Series:
    """Of each row, the name of the rows it belongs to: the smallest of the groups that conversations chain to its own."""
    # A row whose text an erasure took is in nobody's group.
    rows = sft.select("conversation_id", group=pl.coalesce("near_duplicate_group", "row_id"))
    leader = {group: group for group in rows["group"].unique()}

    def find(group: str) -> str:
        while leader[group] != group:
            leader[group] = leader[leader[group]]
            group = leader[group]
        return group

    first_of: dict[str, str] = {}
    for conversation, group in rows.unique().iter_rows():
        one, other = sorted((find(group), find(first_of.setdefault(conversation, group))))
        leader[other] = one
    return pl.Series("together", [find(group) for group in rows["group"]], dtype=pl.String)


def _unit(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
