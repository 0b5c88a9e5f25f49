"""What a declared table is: columns with types and descriptions, partition columns and key.

What goes here: the shape of a declaration. The tables themselves stand in `collect_tables.py`, `learn_tables.py`,
`dataset_tables.py`, `judge_tables.py`, `gate_tables.py`, `release_tables.py` and `review_tables.py`; `schemas.py` gathers them.

Messages, tools and arguments are canonical JSON *strings* everywhere (column type `Json`): Arrow structs and
`datasets` JSON features silently change values (design.md, contract 4).
"""

from dataclasses import dataclass

import polars as pl

Json = pl.String
Time = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Column:
    """One column: name, polars type and the sentence an analyst reads in the Dagster UI."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    description: str


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Attributes:
        name: table and asset name.
        description: its grain, one sentence.
        columns: all columns, partition columns first.
        partitions: the partition columns, `("week", "workflow")` or `("workflow",)`.
        key: columns that identify a row inside a partition; writes are refused when it repeats.
        schema_version: raised where readers of before must not read on, see `schema_version.py`; added columns do not raise it.
        layout: further columns the files are laid out by, so that processes can read parts of a partition.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitions: tuple[str, ...]
    key: tuple[str, ...]
    layout: tuple[str, ...] = ()
    schema_version: int = 1

    def polars_schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column name to polars type, in declared order."""
        return {column.name: column.dtype for column in self.columns}


WEEK = Column("week", pl.String, "Week the row belongs to: the Monday it starts on, YYYY-MM-DD.")
WORKFLOW = Column("workflow", pl.String, "Workflow pack the row belongs to.")


def weekly(
    name: str, description: str, key: tuple[str, ...], *columns: tuple[str, object, str], layout: tuple[str, ...] = ()
) -> Table:
    """A table partitioned by week and workflow; each column is (name, type, description)."""
    declared = tuple(Column(*column) for column in columns)  # type: ignore[arg-type]
    return Table(name, description, (WEEK, WORKFLOW, *declared), ("week", "workflow"), key, layout)


def by_workflow(name: str, description: str, key: tuple[str, ...], *columns: tuple[str, object, str]) -> Table:
    """A table partitioned by workflow only; each column is (name, type, description)."""
    declared = tuple(Column(*column) for column in columns)  # type: ignore[arg-type]
    return Table(name, description, (WORKFLOW, *declared), ("workflow",), key)
