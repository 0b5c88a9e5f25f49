"""Rows and names against the declarations, before anything is written: the lake refuses what was not declared."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake.place import Root, reaching
from flywheel.lake.schemas import TABLES
from flywheel.lake.table import Table


def declared_table(table: str) -> Table:
    """The declaration of a table; raises FlywheelError naming the tables there are."""
    try:
        return TABLES[table]
    except KeyError:
        remedy = f"declare it in flywheel/lake/schemas.py; known: {', '.join(sorted(TABLES))}"
        raise FlywheelError(f"no table named {table!r}", remedy=remedy) from None


def partition_values(table: Table, workflow: str, week: str | None) -> dict[str, str]:
    """Partition column -> value, checked before it becomes part of a predicate."""
    if not workflow.replace("_", "").isalnum() or not workflow.isascii() or not workflow.islower():
        raise FlywheelError(
            f"workflow name {workflow!r} is no identifier",
            remedy="use lower-case letters, digits and underscores, starting with a letter",
        )
    if "week" not in table.partitions:
        return {"workflow": workflow}
    try:
        datetime.strptime(week or "", "%Y-%m-%d")
    except ValueError:
        remedy = "name the Monday it starts on, as in 2026-01-05"
        raise FlywheelError(f"table {table.name} is weekly and {week!r} is no week", remedy=remedy) from None
    return {"week": str(week), "workflow": workflow}


def conform(
    table: Table, rows: Sequence[Mapping[str, Any]] | pl.DataFrame, partition: Mapping[str, str]
) -> pl.DataFrame:
    """The rows as a frame of exactly the declared columns and types, keys checked."""
    wanted = {name: dtype for name, dtype in table.polars_schema().items() if name not in partition}
    if isinstance(rows, pl.DataFrame):
        frame = rows.drop([column for column in partition if column in rows.columns])
        given = set(frame.columns) if frame.width else set(wanted)
    else:
        frame = pl.DataFrame(list(rows), schema=wanted, strict=False, orient="row") if rows else pl.DataFrame()
        given = set().union(*(row.keys() for row in rows)) if rows else set(wanted)
    if given != set(wanted):
        missing, extra = sorted(set(wanted) - given), sorted(given - set(wanted))
        raise FlywheelError(
            f"rows do not have the declared columns of {table.name}: missing {missing}, undeclared {extra}",
            where="flywheel/lake/schemas.py",
            remedy="write every declared column and no other; declare new columns first",
        )
    if not frame.width:
        frame = pl.DataFrame(schema=wanted)
    literals = [pl.lit(value).alias(column) for column, value in partition.items()]
    full = frame.with_columns(literals).select(list(table.polars_schema()))
    full = full.cast(table.polars_schema())  # pyright: ignore[reportArgumentType]
    repeated = full.filter(full.select(table.key).is_duplicated())
    if repeated.height:
        raise FlywheelError(
            f"{repeated.height} rows of {table.name} share a key {table.key}: {repeated.row(0)[:4]}",
            remedy="a row's key must be unique inside its partition; this is a defect of the stage that wrote it",
        )
    return full.sort(list(table.key))


def declared_rows(scan: pl.LazyFrame, kinds: Mapping[str, Any], root: Root) -> pl.DataFrame:
    """The rows of a scan of a table below `root`, with the declared columns; those declared after the table's last write are null."""
    with reaching(root):
        there = scan.collect_schema()
        later = [pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in there]
        return scan.with_columns(later).select(list(kinds)).collect()
