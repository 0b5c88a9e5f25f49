"""Reduce: which staged run counts, which is a duplicate, and the account of every file.

read = accepted + duplicate + quarantined + other workflows' holds for every file and is checked. Of runs with one trace id the longest counts (a
re-sent run may have grown), then the one in the earliest place.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from flywheel.toolcalls.arguments import canonical_json
from flywheel.traces.staging import Staged

COUNTED = ("accepted", "duplicate", "quarantined", "other_workflow")


class Account(NamedTuple):
    """What the reduce found.

    Attributes:
        week: index of the runs that count in the week read, see `staging.WEEK_INDEX`.
        losers: part -> source lines of its rows that do not count.
        ledger: file number -> counts: read, those of COUNTED, traces, weeks (JSON).
        quarantined: QUARANTINED_RECORDS rows by file number.
        weeks: week -> runs seen.
    """

    week: pl.DataFrame
    losers: dict[str, pl.DataFrame]
    ledger: dict[int, dict[str, Any]]
    quarantined: list[dict[str, Any]]
    weeks: dict[str, int]


def settle(staged: list[Staged], files: list[int], week: str, known_elsewhere: Callable[[], pl.DataFrame]) -> Account:
    """Settle duplicates and count every record once.

    Args:
        files: numbers of the files read.
        known_elsewhere: trace_id and week of all runs in the lake; asked only when there are runs without a time, which belong to the week that
            first read them.
    """
    frames = [frame for one in staged for frame in one.index]
    index = pl.concat([_NO_INDEX, *frames], how="diagonal")
    index = index.with_row_index("row")
    known = pl.Series("known", [False] * index.height, dtype=pl.Boolean)
    if index["undated"].any():
        elsewhere = known_elsewhere().select("trace_id", pl.col("week").alias("other"))
        matches = index.filter("undated").join(elsewhere, on="trace_id").filter(pl.col("other") != pl.col("week"))
        known = index["row"].is_in(matches["row"].implode()).alias("known")
    ordered = (
        index.drop("row")
        .with_columns(known)
        .sort("trace_id", "message_count", "file", "record", descending=[False, True, False, False])
    )
    ordered = ordered.with_columns(wins=pl.struct("trace_id").is_first_distinct() & ~pl.col("known"))
    counts: dict[int, Counter[str]] = {number: Counter() for number in files}
    weeks: dict[int, Counter[str]] = {number: Counter() for number in files}
    traces: Counter[int] = Counter()
    single = ordered.filter(pl.col("records").is_null()).group_by("file", "wins", "week").len()
    for number, wins, own_week, rows in single.rows():
        counts[number]["accepted" if wins else "duplicate"] += rows
        if wins:
            weeks[number][own_week] += rows
            traces[number] += rows
    for row in ordered.filter(pl.col("records").is_not_null()).iter_rows(named=True):
        for place, position in enumerate(row["records"]):
            number = int(position.split(":")[0])
            counts[number]["accepted" if row["wins"] else "duplicate"] += 1
            if row["wins"] and place == 0:
                weeks[number][row["week"]] += 1
                traces[number] += 1
    for one in staged:
        for number, context in one.context.items():
            counts[number]["accepted"] += context
        for number, repeated in one.repeated.items():
            counts[number]["duplicate"] += repeated
        for number, elsewhere in one.elsewhere.items():
            counts[number]["other_workflow"] += elsewhere
    quarantined = [row for one in staged for row in one.quarantined]
    for row in quarantined:
        counts[row["file"]]["quarantined"] += 1
    read: Counter[int] = Counter()
    for one in staged:
        read.update(one.read)
    ledger = {}
    for number in files:
        own = counts[number]
        counted = sum(own[name] for name in COUNTED)
        if counted != read[number]:
            raise AssertionError(f"file {number}: {read[number]} records read, {counted} accounted for")
        ledger[number] = {"read": read[number], **{name: own[name] for name in COUNTED},
                          "traces": traces[number], "weeks": canonical_json(dict(sorted(weeks[number].items())))}  # fmt: skip
    total: Counter[str] = Counter()
    for own in weeks.values():
        total.update(own)
    mine = ordered.filter(week=week)
    lost = mine.filter(~pl.col("wins")).select("part", "source_line")
    losers = {part: rows for (part,), rows in lost.partition_by("part", as_dict=True).items()} if lost.height else {}
    return Account(mine.filter("wins"), losers, ledger, quarantined, dict(sorted(total.items())))


_NO_INDEX = pl.DataFrame(
    schema={"trace_id": pl.String, "message_count": pl.Int32, "file": pl.Int32, "record": pl.Int64,
            "records": pl.List(pl.String), "week": pl.Categorical, "undated": pl.Boolean,
            "request_digest": pl.Binary, "bands": pl.List(pl.Int32), "digest": pl.Binary, "part": pl.Categorical, "source_line": pl.Int64}
)  # fmt: skip


def weeks_of(ledger_row: dict[str, Any]) -> dict[str, int]:
    """Runs by week of one ledger row."""
    return json.loads(ledger_row["weeks"])
