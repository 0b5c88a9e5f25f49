"""Near-duplicates of new texts among all texts ever seen: bands of history are looked up, never recomputed.

new texts -> bands -> rows of history with a key in common -> candidates -> true Jaccard -> links; links -> groups by union-find
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from flywheel.similarity.minhash import BANDS, bands
from flywheel.similarity.near_duplicates import candidates, linked
from flywheel.toolcalls.arguments import sha256_of

BAND_COLUMNS = tuple(f"band_{number:02d}" for number in range(BANDS))
NEAR = 0.8


def normalised(text: str) -> str:
    """A text's words, case folded, without punctuation: what two spellings of one text have in common."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def text_id_of(text: str) -> str:
    """16 hex digits: equal for texts that differ in case, spacing and punctuation only."""
    return sha256_of(normalised(text))[:16]


def band_columns(texts: pl.Series) -> pl.DataFrame:
    """The twelve band keys of each text as columns; null for a text without words. A text's keys depend on it alone."""
    keys = bands(texts)
    return pl.DataFrame({name: keys.list.get(number) for number, name in enumerate(BAND_COLUMNS)})


def near_links(
    new: pl.DataFrame,
    history: pl.DataFrame,
    texts_of: Callable[[Sequence[str]], Mapping[str, str]],
    *,
    threshold: float = NEAR,
) -> dict[str, list[str]]:
    """For each new text the texts it is near: earlier ones, or new ones before it.

    Args:
        new: text_id, text and BAND_COLUMNS of texts that history does not have.
        history: text_id and BAND_COLUMNS, oldest first.
        texts_of: texts of the given ids of history; asked for candidates only.

    A text is compared with the first and last of history under each of its keys, and with the first and the one before it among the
    new ones, so that a group is found along chains of such pairs. The order of `new` does not matter.
    """
    fresh = new.sort("text_id").filter(pl.col(BAND_COLUMNS[0]).is_not_null())
    if not fresh.height:
        return {}
    met = history[_meeting(fresh, history)]
    both = pl.concat([met.select("text_id", *BAND_COLUMNS), fresh.select("text_id", *BAND_COLUMNS)]).with_row_index(
        "row"
    )
    pairs = candidates(both["row"].to_numpy(), both.select(BAND_COLUMNS).to_numpy()).filter(
        pl.col("other") >= met.height
    )
    ids = both["text_id"].to_list()
    asked = sorted({ids[row] for row in pairs["one"] if row < met.height})
    known = {**texts_of(asked), **dict(zip(fresh["text_id"], fresh["text"], strict=True))}
    found: dict[str, list[str]] = {}
    involved = {row for pair in pairs.iter_rows() for row in pair}
    for one, other in linked(pairs, {row: known[ids[row]] for row in involved}, threshold):
        found.setdefault(ids[other], []).append(ids[one])
    return {key: sorted(near) for key, near in found.items()}


def groups_of(links: pl.DataFrame) -> pl.DataFrame:
    """text_id -> near_duplicate_group, the first text of its group; `links` has text_id and near (JSON), oldest first."""
    place = {key: number for number, key in enumerate(links["text_id"])}
    root = list(range(len(place)))

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for text_id, near in links.filter(pl.col("near") != "[]").select("text_id", "near").iter_rows():
        for other in json.loads(near):
            if other in place:  # an erased text is in nobody's group
                first, second = sorted((find(place[text_id]), find(place[other])))
                root[second] = first
    leaders = links["text_id"].gather([find(row) for row in range(len(root))]) if root else links["text_id"]
    return pl.DataFrame({"text_id": links["text_id"], "near_duplicate_group": leaders})


def _meeting(fresh: pl.DataFrame, history: pl.DataFrame) -> np.ndarray:
    """Rows of history, ascending, that are the first or the last one under some band key of a fresh text."""
    rows = [np.zeros(0, np.uint32)]
    for name in BAND_COLUMNS:
        keys = fresh[name].unique()
        shared = (
            pl.DataFrame({"key": history[name]})
            .with_row_index("row")
            .filter(pl.col("key").is_in(keys.implode()))
            .group_by("key")
            .agg(first=pl.col("row").min(), last=pl.col("row").max())
        )
        rows += [shared["first"].to_numpy(), shared["last"].to_numpy()]
    return np.unique(np.concatenate(rows))
