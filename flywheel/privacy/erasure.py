"""Erasure in the lake: every row of a person, the files and log entries that held them, and a search that proves it.

What goes here: tables and bytes. Events, inbox files, reports and Dagster's own records are `operations/erase.py`'s.
"""

import gzip
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flywheel.lake import TABLES, Lake
from flywheel.lake.retention import PRUNED
from flywheel.lake.scrub import scrub
from flywheel.lake.store import NO_WEEK
from flywheel.privacy.pending import Found
from flywheel.serving.ancestry import descendants, trained_from

_IDS = ("trace_id", "conversation_id", "case_id")
_PERSONAL = ("principal_ref", *_IDS, "origin_trace_id")
# Code version of a partition that was rewritten without a person.
ERASED = "erased"


class Erased(NamedTuple):
    """What was taken out of the lake: rows by table, trace ids, item ids, correction ids, (week, adapter) trained on the person."""

    rows: dict[str, int]
    trace_ids: list[str]
    item_ids: list[str]
    weeks: list[str]
    adapters: list[tuple[str, str]]


class Hit(NamedTuple):
    """One place where a needle was found: the file and which needle (by its place in the list)."""

    file: Path
    needle: int


def person_rows(lake: Lake, workflow: str, principal_ref: str) -> pl.DataFrame:
    """week, trace_id, conversation_id and source_file of a person's runs, all weeks; the last two are null where they are not known.

    Runs that retention took away are found where they were handed on.
    """
    wanted = ("week", "trace_id", "conversation_id", "source_file")
    found = []
    for table in ("production_traces", "production_failures", "correction_batch"):
        there = [name for name in wanted if name in TABLES[table].polars_schema()]
        mine = lake.read_columns(table, there, workflow=workflow, where=pl.col("principal_ref") == principal_ref)
        found.append(
            mine.with_columns(pl.lit(None, pl.String).alias(name) for name in wanted if name not in there).select(
                wanted
            )
        )
    return pl.concat(found).unique("trace_id", keep="first", maintain_order=True)


def erase_rows(lake: Lake, workflow: str, principal_ref: str, found: Found, save: Callable[[], None]) -> None:
    """Rewrite every partition that holds rows of the person without them. Raises nothing for an unknown person.

    Rows are found by pseudonym, trace and conversation; dataset rows carry the conversation. What was evaluated on cases made of their
    runs goes too, and rows that only name such a case forget the name.

    Args:
        found: what the person is known by here; rows, weeks and adapters are added before a partition is written.
        save: writes `found` down, so that an erasure that is killed here goes on with it.
    """
    wanted = {"trace_id": found.trace_ids, "conversation_id": found.conversation_ids, "case_id": found.case_ids}
    case_ids = sorted(found.case_ids)
    for row in lake.all_lineage(workflow=workflow).sort("table_name", "week").iter_rows(named=True):
        table, week = row["table_name"], None if row["week"] == NO_WEEK else row["week"]
        if table not in TABLES or lake.version(table) is None:
            continue
        frame = lake.read_partition(table, workflow=workflow, week=week)
        hit = _theirs(frame, principal_ref, wanted)
        gone = frame.filter(hit)
        kept = _unnamed(frame.filter(~hit), case_ids)
        # Killed between the rows and their line in lineage, a partition would seem unchanged to whatever was made of it.
        half_done = found.noted(table, week) and row["code_version"] != ERASED
        if not gone.height and kept.equals(frame) and not half_done:
            continue
        if week is not None and table in ("sft_dataset", "preference_dataset", "eval_results", "promotion"):
            found.weeks.add(week)
        if gone.height and table in ("sft_dataset", "preference_dataset") and week is not None:
            found.adapters |= _adapters(lake, workflow, week)
        found.rows_of(table, week, gone.height)
        save()
        kept = kept.drop(list(TABLES[table].partitions))
        lake.replace_partition(table, kept, workflow=workflow, week=week, code_version=ERASED)
    later = descendants(trained_from(lake, workflow), {adapter for _, adapter in found.adapters})
    found.adapters |= {(week, adapter) for adapter, week in later.items()}


def items_in(lake: Lake, workflow: str, principal_ref: str, found: Found) -> set[str]:
    """Ids of the batch items that rows of the person name, in every table that has such a column."""
    wanted = {"trace_id": found.trace_ids, "conversation_id": found.conversation_ids, "case_id": found.case_ids}
    items: set[str] = set()
    for name in TABLES:
        kinds = TABLES[name].polars_schema()
        columns = [one for one in (*_PERSONAL, "item_id") if one in kinds]
        if "item_id" in columns and len(columns) > 1:
            frame = lake.read_columns(name, columns, workflow=workflow)
            items |= set(frame.filter(_theirs(frame, principal_ref, wanted))["item_id"].drop_nulls())
    return items


def scrub_tables(lake: Lake, workflow: str, *, every: bool) -> None:
    """Remove the replaced versions of a workflow's tables: rows that left a table long ago still lie in its old files.

    Args:
        every: all tables that the workflow ever wrote; else those that retention took rows from, and `lineage`: what was taken away
            lies in old versions until a prune removes those.
    """
    known = lake.all_lineage(workflow=workflow)
    names = known if every else known.filter(code_version=PRUNED)
    for table in sorted({*names["table_name"], "lineage"} & set(TABLES)):
        if lake.version(table) is not None:
            scrub(lake.uri(table))


def _theirs(frame: pl.DataFrame, principal_ref: str, wanted: dict[str, set[str]]) -> pl.Series:
    hit = pl.Series([False] * frame.height, dtype=pl.Boolean)
    if "principal_ref" in frame.columns:
        hit |= frame["principal_ref"].eq_missing(principal_ref)
    for column in _IDS:
        if column in frame.columns and wanted[column]:
            hit |= frame[column].is_in(sorted(wanted[column])).fill_null(False)
    if "origin_trace_id" in frame.columns and wanted["trace_id"]:  # a case promoted from their run
        hit |= frame["origin_trace_id"].is_in(sorted(wanted["trace_id"])).fill_null(False)
    for column in ("line", "detail", "evidence", "example"):
        if column in frame.columns:
            hit |= frame[column].str.contains(principal_ref, literal=True).fill_null(False)
    return hit


def _unnamed(frame: pl.DataFrame, case_ids: Sequence[str]) -> pl.DataFrame:
    """The rows with the names of erased cases taken out of their texts: a case's id holds the run it was made of."""
    if not case_ids:
        return frame
    texts = pl.col([name for name, kind in frame.schema.items() if kind == pl.String])
    return frame.with_columns(texts.str.replace_many(list(case_ids), ["erased"] * len(case_ids)))


def _adapters(lake: Lake, workflow: str, week: str) -> set[tuple[str, str]]:
    if not lake.has_partition("checkpoint", workflow=workflow, week=week):
        return set()
    return {
        (week, adapter) for adapter in lake.read_partition("checkpoint", workflow=workflow, week=week)["adapter_id"]
    }


def compact(file: Path) -> None:
    """Rewrite an SQLite file so that no page of deleted rows stays in it or in its write-ahead log."""
    connection = sqlite3.connect(file, timeout=30)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def search(roots: Sequence[Path], needles: Sequence[str]) -> tuple[list[Hit], int]:
    """Every file below the roots that holds a needle, and how many files were searched.

    Bytes are searched as they lie; Parquet files also decoded, column by column and their statistics with them, because
    compression hides text from a search of bytes; gzip files also unpacked.
    """
    hits: list[Hit] = []
    searched = 0
    encoded = [needle.encode("utf-8", "surrogatepass") for needle in needles]
    for path in sorted({path for root in roots for path in root.rglob("*") if path.is_file()}):
        searched += 1
        contents = [_bytes(path)]
        if path.suffix == ".gz":
            contents.append(_unpacked(path))
        if path.suffix == ".parquet":
            contents.append(_decoded(path))
        hits += [
            Hit(path, number) for number, needle in enumerate(encoded) if any(needle in content for content in contents)
        ]
    return hits, searched


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _unpacked(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError):
        return b""


def _decoded(path: Path) -> bytes:
    """Everything a Parquet file says: rows, and the footer's minima and maxima."""
    import pyarrow.parquet as pq

    try:
        frame = pl.read_parquet(path)
        groups = pq.ParquetFile(path).metadata
    except (OSError, pl.exceptions.PolarsError, ValueError):
        return b""
    told = [
        str(groups.row_group(g).column(c).statistics)
        for g in range(groups.num_row_groups)
        for c in range(groups.num_columns)
    ]
    return ("\n".join(told) + frame.write_ndjson()).encode("utf-8", "surrogatepass")
