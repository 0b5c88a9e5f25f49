"""The week's supervised mix: which candidate steps train, and why each of the others does not.

candidates -> withdrawn, kept out -> conflicts, settled and open -> halves of trajectories -> repeats
           -> caps and budget, newest first and cluster by cluster -> leaks -> rows

Every step that is left out is counted under its reason; `read = kept + left out` holds. The order of the candidates never matters.
All of history is looked at as columns; only what a ration is asked about becomes a Python object, so that a year of weeks costs little
more than two.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import polars as pl

from flywheel.datasets.conflicts import Settlement, contested, overruled
from flywheel.datasets.ration import Ration
from flywheel.datasets.taking import INCOMPLETE, FindLeaks, Row, Taking
from flywheel.lake.dataset_tables import BEFORE_ALL_WEEKS
from flywheel.workflows.pack import Datasets

# A step is one of these first; only then does anything else count.
_SOURCES = ("correction", "demonstration", "verified", "replay")
_CLUSTER = pl.coalesce(pl.when(pl.col("failure_cluster") != "").then("failure_cluster"), "tool")


_IN_RUN = pl.col("remedy") == "trajectory"
# What is taken as a whole.
_UNIT = pl.when(_IN_RUN).then(pl.format("run {} {}", "source", "source_id")).otherwise(pl.format("row {}", "seat"))


class Mix(NamedTuple):
    """The rows of a week and the account of the rest.

    Attributes:
        kept: candidates that train, by row_id, in that order.
        left_out: every other one, with `reason` and, in `detail`, what more there is to say.
        counts: source -> [candidates, kept].
        notes: sentences: caps that were off, sources that were missing.
    """

    kept: list[Row]
    left_out: pl.DataFrame
    counts: dict[str, list[int]]
    notes: list[str]

    def reasons(self) -> dict[str, int]:
        """Reason -> number of steps left out."""
        return dict(sorted(self.left_out["reason"].value_counts().rows()))


def select(
    candidates: pl.DataFrame, find_leaks: FindLeaks, settings: Datasets, *, week: str, withdrawn: Mapping[str, set[str]] | None = None,
    held_out: frozenset[str] = frozenset(), settled: Mapping[str, Settlement] | None = None,
) -> Mix:  # fmt: skip
    """Choose the week's rows.

    Args:
        candidates: TRAINING_STEPS rows with near_duplicate_group, and week (that of their partition).
        find_leaks: the leaks among some candidates, by row_id.
        withdrawn: column -> values that may not train any more.
        held_out: row ids of the held-out split: a leak to one of them counts as `held_out`.
        settled: context_id -> what an adjudicator decided about its different answers.
    """
    account = _Account()
    # Newest week first, then by id: whose provenance a repeated row carries.
    ordered = (
        candidates.sort(
            _place_of_source(), pl.col("week").str.to_date().to_physical().neg(), "source_id", "message_index"
        )
        .with_row_index("seat")
        .with_columns(unit=_UNIT)
    )
    standing = account.without(ordered, *_withdrawn(withdrawn or {}))
    standing = account.without(standing, pl.col("kept_out") != "", pl.col("kept_out"), pl.col("detail"))
    standing = _without_overruled(standing, settled or {}, account)
    # Before the repeats: an answer that somebody gave again, in another spelling, still contradicts the other one.
    contradicted = pl.col("context_id").is_in(sorted(contested(standing)))
    agreed = account.without(standing, contradicted, "conflict", "answered differently elsewhere")
    alike = _alike(_without_halves(agreed, account))
    ranked = _ranked(alike.filter(pl.col("seat") == pl.col("first")), settings, week)
    ration = Ration(ranked, settings)
    taking = Taking(ranked, alike, ration, find_leaks, held_out)
    taking.fill()
    kept = list(taking.kept.values())
    account.note(alike, taking.left())
    repeated = pl.col("seat").ne(pl.col("first")) & ~pl.col("seat").is_in([*taking.kept, *taking.left()["seat"]])
    account.without(alike, repeated, "repeated", pl.format("row {}", pl.col("row_id").first().over("first")))
    before, after = dict(candidates["source"].value_counts().rows()), Counter(row["source"] for row in kept)
    counts = {source: [before.get(source, 0), after[source]] for source in _SOURCES}
    return Mix(sorted(kept, key=lambda row: row["row_id"]), account.left_out(candidates), counts, ration.notes)


class _Account:
    """What was left out so far, as frames of candidates with their reason."""

    def __init__(self) -> None:
        self.parts: list[pl.DataFrame] = []

    def without(self, rows: pl.DataFrame, gone: pl.Expr, reason: pl.Expr | str, detail: pl.Expr | str) -> pl.DataFrame:
        """The rows without those that are `gone`, which are noted; reason and detail are expressions, or the words."""
        told = (one if isinstance(one, pl.Expr) else pl.lit(one) for one in (detail, reason))
        marked = rows.with_columns(
            gone.alias("gone"), *(one.alias(name) for name, one in zip(("told", "reason"), told, strict=True))
        )
        self.parts.append(marked.filter("gone").with_columns(detail="told").select(*rows.columns, "reason"))
        return rows.filter(~marked["gone"])

    def note(self, rows: pl.DataFrame, left: pl.DataFrame) -> None:
        """Note some of the rows, by their seat, with the reason and detail of `left`."""
        self.parts.append(rows.drop("detail").join(left, on="seat", maintain_order="left"))

    def left_out(self, like: pl.DataFrame) -> pl.DataFrame:
        """All of it, in the order in which it was decided."""
        return pl.concat([part.select(*like.columns, "reason") for part in self.parts])


def _place_of_source() -> pl.Expr:
    return pl.col("source").replace_strict(list(_SOURCES), list(range(len(_SOURCES))), return_dtype=pl.Int8)


def _withdrawn(sources: Mapping[str, set[str]]) -> tuple[pl.Expr, str, pl.Expr | str]:
    """Which rows come from a withdrawn source, and which it is: the first that is named."""
    named = [
        pl.when(pl.col(column).is_in(sorted(values))).then(pl.format(f"{column} {{}}", column))
        for column, values in sources.items()
    ]
    found = pl.coalesce(named) if named else pl.lit(None, pl.String)
    return found.is_not_null(), "withdrawn", found


def _without_overruled(rows: pl.DataFrame, settled: Mapping[str, Settlement], account: _Account) -> pl.DataFrame:
    judged = rows.filter(pl.col("context_id").is_in(sorted(settled))).select("context_id", "source_id", "answer_id")
    lost = overruled(judged.iter_rows(named=True), settled)
    schema = {"context_id": pl.String, "answer_id": pl.String, "holds": pl.String}
    by = pl.DataFrame([(*key, holds) for key, holds in lost.items()], schema=schema, orient="row")
    joined = rows.join(by, on=["context_id", "answer_id"], how="left", maintain_order="left")
    detail = pl.format("settled by correction {}", "holds")
    return account.without(joined, pl.col("holds").is_not_null(), "overruled", detail).drop("holds")


def _without_halves(rows: pl.DataFrame, account: _Account) -> pl.DataFrame:
    """The rows without those of trajectories that have lost one already: half a recovery teaches none."""
    lost = pl.concat([part.select("unit", "remedy", "message_index", "reason") for part in account.parts]).filter(
        _IN_RUN
    )
    lost = lost.sort("unit", "message_index", "reason").unique("unit", keep="first", maintain_order=True)
    why = pl.format("message {} of it is left out: {}", "message_index", "reason")
    joined = rows.join(lost.select("unit", lost=why), on="unit", how="left", maintain_order="left")
    return account.without(joined, pl.col("lost").is_not_null(), INCOMPLETE, pl.col("lost")).drop("lost")


def _alike(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with, as `first`, the seat of the row that they repeat: their own where they repeat none.

    Repeats are the same row, or near-duplicate requests whose context and answer are otherwise the same. Steps of one run share the
    user's words and differ in calls and results: they are different rows.
    """
    spelled = rows.with_columns(first=pl.col("seat").first().over("near_duplicate_group", "shape_id"))
    firsts = spelled.filter(pl.col("seat") == pl.col("first"))
    same = firsts.select("first", same=pl.col("seat").first().over("row_id"))
    return spelled.join(same, on="first", how="left", maintain_order="left").with_columns(first="same").drop("same")


def _ranked(rows: pl.DataFrame, settings: Datasets, week: str) -> pl.DataFrame:
    """Rows in the order they are taken, with their `place`: the newest of each failure cluster first, a trajectory as a whole.

    The place inside its cluster is weighed by age: after one half-life a correction counts like one twice as far down.
    """
    ages = {one: max(0, _day(week) - _day(one)) // 7 for one in rows["week"].unique()} | {BEFORE_ALL_WEEKS: 0}
    weeks = pl.DataFrame({
        "week": list(ages), "age": list(ages.values()),
        "weight": [2.0 ** min(64.0, age / settings.half_life_weeks) for age in ages.values()],
    })  # fmt: skip
    # A row's id is a hash: as good as a draw, and the same in every build.
    units = (
        rows.unique("unit", keep="first", maintain_order=True)
        .select("unit", "source", "week", "row_id", cluster=_CLUSTER)
        .join(weeks, on="week", how="left")
        .sort("age", "row_id")
        .with_columns(down=pl.int_range(1, pl.len() + 1).over("source", "cluster"))
        .sort(_place_of_source(), pl.col("down") * pl.col("weight"), "row_id")
        .with_row_index("rank")
    )
    ranked = rows.join(units.select("unit", "rank"), on="unit", how="left", maintain_order="left")
    return ranked.sort("rank", maintain_order=True).drop("rank").with_row_index("place")


def _day(week: str) -> int:
    return date.fromisoformat(week).toordinal()
