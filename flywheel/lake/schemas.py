"""Every declared table by name. A column is declared before it is written; the store refuses the rest."""

import polars as pl

from flywheel.lake import (
    collect_tables,
    dataset_tables,
    gate_tables,
    judge_tables,
    learn_tables,
    prequential_tables,
    release_tables,
    review_tables,
)
from flywheel.lake.table import WORKFLOW, Column, Json, Table, Time

LINEAGE = Table(
    "lineage",
    "One row per partition ever written: which version, from which inputs, by which run.",
    (
        Column("table_name", pl.String, "Table written."),
        WORKFLOW,
        Column("week", pl.String, "Week, or '-' for tables without weeks."),
        Column("version", pl.Int64, "Delta version of that write."),
        Column("fingerprint", pl.String, "Hash of inputs, settings and code version; equal means nothing to do."),
        Column("content_sha256", pl.String, "Hash of the rows written."),
        Column("rows", pl.Int64, "Rows written."),
        Column("inputs", Json, "JSON object: input partition to the Delta version read."),
        Column("code_version", pl.String, "Code version of the stage."),
        Column("run_id", pl.String, "Dagster run that wrote it; empty outside Dagster."),
        Column("seconds", pl.Float64, "Wall seconds of the stage."),
        Column("written_at", Time, "When, UTC."),
    ),
    ("table_name", "workflow", "week"),
    ("table_name", "workflow", "week"),
)


def _declared() -> dict[str, Table]:
    modules = (
        collect_tables, learn_tables, dataset_tables, judge_tables, gate_tables, prequential_tables, release_tables, review_tables,
    )  # fmt: skip
    tables = [value for module in modules for value in vars(module).values() if isinstance(value, Table)]
    return {table.name: table for table in (*tables, LINEAGE)}


TABLES: dict[str, Table] = _declared()
