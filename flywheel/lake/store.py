"""The store: the only module that calls `write_deltalake`.

One write is one atomic commit that overwrites exactly one partition by predicate, so writing twice gives the same rows.
Append-only tables take new keys instead. After each commit one row of `lineage` says which version holds the
partition, what it was made from and the fingerprint that lets an unchanged stage do no work. A process killed between
the two commits leaves the old lineage row, so the stage simply runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from flywheel.errors import FlywheelError, MissingPartition
from flywheel.jobs import JOBS
from flywheel.lake.schemas import TABLES
from flywheel.lake.table import Table
from flywheel.toolcalls.arguments import canonical_json, sha256_of

Rows = Sequence[Mapping[str, Any]] | pl.DataFrame
NO_WEEK = "-"

# Which command makes a missing partition, for the error's remedy.
_FREEZE = {*JOBS["freeze"], "benchmark_fingerprints"}
_COLLECT = {*JOBS["collect"], "quarantined_records"}


@dataclass(frozen=True)
class Lineage:
    """What the store knows of one partition: see the columns of the `lineage` table."""

    table_name: str
    workflow: str
    week: str
    version: int
    fingerprint: str
    content_sha256: str
    rows: int
    inputs: str
    code_version: str
    run_id: str
    seconds: float
    written_at: datetime


class Lake:
    """Delta tables under one root, one folder a table.

    Args:
        root: local folder; made when the first table is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def uri(self, table: str) -> str:
        """Where the table lies."""
        return str(self.root / _declared(table).name)

    def replace_partition(
        self,
        table: str,
        rows: Rows,
        *,
        workflow: str,
        week: str | None = None,
        inputs: Mapping[str, int] | None = None,
        fingerprint: str = "",
        code_version: str = "",
        run_id: str = "",
        seconds: float = 0.0,
    ) -> int:
        """Overwrite one partition in one commit; returns the Delta version written.

        Rows lack the partition columns; every other declared column must be there. An empty `rows` is a written, empty
        partition, which is not the same as a missing one. Raises FlywheelError for undeclared or missing columns and
        for repeated keys; then nothing is written.
        """
        declared = _declared(table)
        partition = _partition_values(declared, workflow, week)
        frame = _conform(declared, rows, partition)
        predicate = " AND ".join(f"{column} = '{value}'" for column, value in partition.items())
        version = self._overwrite(declared, frame, predicate, run_id, inputs)
        row = {
            "version": version,
            "fingerprint": fingerprint,
            "content_sha256": content_sha256(frame),
            "rows": frame.height,
            "inputs": canonical_json(dict(inputs or {})),
            "code_version": code_version,
            "run_id": run_id,
            "seconds": seconds,
            "written_at": datetime.now(UTC),
        }
        self._record(declared.name, partition, row)
        return version

    def append_new(self, table: str, rows: Rows, *, workflow: str, run_id: str = "") -> int:
        """Add the rows whose key is not there yet (append-only tables without weeks); returns how many were added."""
        declared = _declared(table)
        partition = _partition_values(declared, workflow, None)
        frame = _conform(declared, rows, partition)
        before = self._scan(declared, partition)
        fresh = frame.join(before.select(declared.key), on=list(declared.key), how="anti")
        if fresh.height or not self.has_partition(table, workflow=workflow):
            both = pl.concat([before, fresh])
            self.replace_partition(
                table, both.drop(list(partition)), workflow=workflow, run_id=run_id, fingerprint=content_sha256(both)
            )
        return fresh.height

    def read_partition(
        self, table: str, *, workflow: str, week: str | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """All rows of one partition, as of `version` when given; raises MissingPartition when it was never written."""
        declared = _declared(table)
        partition = _partition_values(declared, workflow, week)
        if not self.has_partition(table, workflow=workflow, week=week):
            raise _missing(table, workflow, week)
        return self._scan(declared, partition, version)

    def read_weeks(self, table: str, *, workflow: str, until: str | None = None) -> pl.DataFrame:
        """Rows of all weeks of a workflow up to and including `until`; empty when there are none."""
        declared = _declared(table)
        frame = self._scan(declared, {"workflow": workflow})
        return frame if until is None or "week" not in declared.partitions else frame.filter(pl.col("week") <= until)

    def empty(self, table: str) -> pl.DataFrame:
        """A frame without rows in the table's declared schema."""
        return pl.DataFrame(schema=_declared(table).polars_schema())

    def has_partition(self, table: str, *, workflow: str, week: str | None = None) -> bool:
        """Whether the partition was ever written, empty or not."""
        return self.lineage(table, workflow=workflow, week=week) is not None

    def lineage(self, table: str, *, workflow: str, week: str | None = None) -> Lineage | None:
        """The partition's last write, or None."""
        values = {"table_name": table, "workflow": workflow, "week": week or NO_WEEK}
        found = self._scan(TABLES["lineage"], values)
        return Lineage(**found.row(0, named=True)) if found.height else None

    def all_lineage(self, *, workflow: str) -> pl.DataFrame:
        """The last write of every partition of a workflow."""
        return self._scan(TABLES["lineage"], {"workflow": workflow})

    def version(self, table: str) -> int | None:
        """Newest Delta version of a table, or None before its first write."""
        opened = self._open(_declared(table))
        return None if opened is None else opened.version()

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(table.name), version=version)
        except TableNotFoundError:
            return None

    def _scan(self, table: Table, partition: Mapping[str, str], version: int | None = None) -> pl.DataFrame:
        opened = self._open(table, version)
        if opened is None:
            return pl.DataFrame(schema=table.polars_schema())
        scan = pl.scan_delta(opened)
        for column, value in partition.items():
            scan = scan.filter(pl.col(column) == value)
        frame = scan.collect().cast(table.polars_schema())  # pyright: ignore[reportArgumentType]
        return frame.select(list(table.polars_schema())).sort(list(table.key))

    def _overwrite(
        self, table: Table, frame: pl.DataFrame, predicate: str, run_id: str, inputs: Mapping[str, int] | None
    ) -> int:
        metadata = {"dagster_run_id": run_id, "inputs": canonical_json(dict(inputs or {}))}
        write_deltalake(
            self.uri(table.name),
            frame.to_arrow(),
            mode="overwrite",
            predicate=predicate,
            partition_by=list(table.partitions),
            commit_properties=CommitProperties(custom_metadata=metadata),
        )
        return DeltaTable(self.uri(table.name)).version()

    def _record(self, table_name: str, partition: Mapping[str, str], row: dict[str, Any]) -> None:
        lineage = TABLES["lineage"]
        values = {
            "table_name": table_name,
            "workflow": partition["workflow"],
            "week": partition.get("week", NO_WEEK),
        }
        predicate = " AND ".join(f"{column} = '{value}'" for column, value in values.items())
        self._overwrite(lineage, _conform(lineage, [row], values), predicate, row["run_id"], None)


def content_sha256(frame: pl.DataFrame) -> str:
    """Hash of a frame's rows, independent of their order and of when they were written."""
    rows = sorted(sha256_of({key: str(value) for key, value in row.items()}) for row in frame.iter_rows(named=True))
    return sha256_of(rows)


def _declared(table: str) -> Table:
    try:
        return TABLES[table]
    except KeyError:
        remedy = f"declare it in flywheel/lake/schemas.py; known: {', '.join(sorted(TABLES))}"
        raise FlywheelError(f"no table named {table!r}", remedy=remedy) from None


def _partition_values(table: Table, workflow: str, week: str | None) -> dict[str, str]:
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


def _conform(table: Table, rows: Rows, partition: Mapping[str, str]) -> pl.DataFrame:
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


def _missing(table: str, workflow: str, week: str | None) -> MissingPartition:
    stage = "freeze" if table in _FREEZE else "collect" if table in _COLLECT else "learn"
    command = f"flywheel run --workflow {workflow}" + (f" --week {week}" if week else "") + f" --stage {stage}"
    return MissingPartition(
        f"{table} was never written for {workflow}" + (f", week {week}" if week else ""),
        where=f"table {table}",
        remedy=f"run the stage before it: {command}",
    )
