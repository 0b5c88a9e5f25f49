"""The store: the only module that calls `write_deltalake`.

One write is one atomic commit that overwrites exactly one partition by predicate, so writing twice gives the same rows.
Append-only tables take new keys instead. After each commit one row of `lineage` says which version holds the
partition, what it was made from and the fingerprint that lets an unchanged stage do no work. A process killed between
the two commits leaves the old lineage row, so the stage simply runs again.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from flywheel.lake.conform import conform, declared_rows, declared_table, partition_values
from flywheel.lake.content import content_sha256
from flywheel.lake.data_files import Files, adopted
from flywheel.lake.lineage import Lineage
from flywheel.lake.missing import ConcurrentWrite, missing_partition
from flywheel.lake.place import Root, checked, is_remote, joined, open_table, options, reaching, table_configuration
from flywheel.lake.schema_version import refuse_newer, renew_stamp, stamp
from flywheel.lake.schemas import TABLES
from flywheel.lake.table import Table
from flywheel.lake.trouble import is_whole, reading, writing
from flywheel.lake.turns import overtaken, tries
from flywheel.toolcalls.arguments import canonical_json

Rows = Sequence[Mapping[str, Any]] | pl.DataFrame | Files
# Level 1 writes as fast as snappy and a third smaller.
_WRITER = WriterProperties(compression="ZSTD", compression_level=1)
NO_WEEK = "-"


class Lake:
    """Delta tables under one root, one folder a table.

    Args:
        root: local folder, made when the first table is written, or `s3://bucket/prefix`.
    """

    def __init__(self, root: Root) -> None:
        self.root = checked(root)
        self._opened: dict[tuple[int, str], DeltaTable] = {}  # by thread: an opened table is no shared object

    def uri(self, table: str) -> str:
        """Where the table lies."""
        return joined(self.root, declared_table(table).name)

    def replace_partition(
        self, table: str, rows: Rows, *, workflow: str, week: str | None = None, inputs: Mapping[str, int] | None = None,
        fingerprint: str = "", code_version: str = "", run_id: str = "", seconds: float = 0.0, onto: int | None = None,
    ) -> int:  # fmt: skip
        """Overwrite one partition in one commit; returns the Delta version written.

        Rows lack the partition columns; every other declared column must be there. An empty `rows` is a written, empty
        partition, which is not the same as a missing one. Raises FlywheelError for undeclared or missing columns and
        for repeated keys; then nothing is written. With `onto`, the Delta version that the rows were made from, CommitFailedError
        when the partition was written since.
        """
        declared = declared_table(table)
        partition = partition_values(declared, workflow, week)
        predicate = " AND ".join(f"{column} = '{value}'" for column, value in partition.items())
        if isinstance(rows, Files):
            version = self._adopt(declared, rows, partition, run_id, inputs)
            count, content = sum(file.rows for file in rows.files), rows.content_sha256
        else:
            frame = conform(declared, rows, partition)
            version = self._overwrite(declared, frame, predicate, run_id, inputs, onto)
            count, content = frame.height, content_sha256(frame)
        row = {
            "version": version, "fingerprint": fingerprint, "content_sha256": content, "rows": count,
            "inputs": canonical_json(dict(inputs or {})), "code_version": code_version, "run_id": run_id, "seconds": seconds,
            "written_at": datetime.now(UTC),
        }  # fmt: skip
        self._record(declared.name, partition, row)
        return version

    def append_new(
        self, table: str, rows: Sequence[Mapping[str, Any]] | pl.DataFrame, *, workflow: str, run_id: str = "",
        expected: int | None = None,
    ) -> int:  # fmt: skip
        """Add the rows whose key is not there yet (append-only tables without weeks); returns how many were added.

        Two writers at once both get their rows in. With `expected`, the number of rows that the caller's rows follow from,
        ConcurrentWrite instead when there are others by now.
        """
        declared = declared_table(table)
        partition = partition_values(declared, workflow, None)
        frame = conform(declared, rows, partition)
        self._create(declared)
        for _ in tries():
            version = self.version(table)
            before = self._scan(declared, partition, version)
            if expected is not None and before.height != expected:
                raise ConcurrentWrite(table, workflow, before.height - expected)
            fresh = frame.join(before.select(declared.key), on=list(declared.key), how="anti")
            if not fresh.height and self.has_partition(table, workflow=workflow):
                break
            both = pl.concat([before, fresh])
            try:
                self.replace_partition(table, both.drop(list(partition)), workflow=workflow, run_id=run_id,
                                       fingerprint=content_sha256(both), onto=version)  # fmt: skip
                break
            except CommitFailedError:  # somebody else was faster: look again
                continue
        else:
            raise overtaken(table, self.uri(table))
        return fresh.height

    def read_partition(
        self, table: str, *, workflow: str, week: str | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """All rows of one partition, as of `version` when given; raises MissingPartition when it was never written."""
        declared = declared_table(table)
        rows = self._scan(declared, partition_values(declared, workflow, week), version)
        # Rows prove that it was written; only without any is the lineage asked, whose files grow with the weeks.
        if not rows.height and not self.has_partition(table, workflow=workflow, week=week):
            raise missing_partition(table, workflow, week)
        return rows

    def read_weeks(self, table: str, *, workflow: str, until: str | None = None) -> pl.DataFrame:
        """Rows of all weeks of a workflow up to and including `until`; empty when there are none."""
        declared = declared_table(table)
        early = pl.col("week") <= until if until is not None and "week" in declared.partitions else None
        return self._scan(declared, {"workflow": workflow}, where=early)

    def read_columns(
        self, table: str, columns: Sequence[str], *, workflow: str, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Some columns of the rows of a workflow that satisfy `where`; only these columns are read. Sorted by the key read."""
        declared = declared_table(table)
        opened = self._open(declared)
        kinds = {name: kind for name, kind in declared.polars_schema().items() if name in columns}
        if opened is None:
            return pl.DataFrame(schema=kinds)
        with reading(table, self.uri(table)):
            scan = pl.scan_delta(opened).filter(pl.col("workflow") == workflow)
            found = declared_rows(scan if where is None else scan.filter(where), kinds, self.root)
        order = [name for name in (*declared.partitions, *declared.key) if name in kinds]
        return found.cast(kinds).sort(order or list(kinds))  # pyright: ignore[reportArgumentType]

    def empty(self, table: str) -> pl.DataFrame:
        """A frame without rows in the table's declared schema."""
        return pl.DataFrame(schema=declared_table(table).polars_schema())

    def has_partition(self, table: str, *, workflow: str, week: str | None = None) -> bool:
        """Whether the partition was ever written, empty or not."""
        return self.lineage(table, workflow=workflow, week=week) is not None

    def lineage(self, table: str, *, workflow: str, week: str | None = None) -> Lineage | None:
        """The partition's last write, or None."""
        values = {"table_name": table, "workflow": workflow, "week": week or NO_WEEK}
        found = self._scan(TABLES["lineage"], values)
        return Lineage(**found.row(0, named=True)) if found.height else None

    def intact(self, table: str, *, workflow: str, week: str | None = None) -> bool:
        """Whether every data file of a partition is there and ends as a Parquet file does; no row is read.

        A flipped bit inside a file is not found so. Files elsewhere than on a local disk are taken to be whole.
        """
        declared = declared_table(table)
        opened = self._open(declared)
        if opened is None:
            return True
        partition = partition_values(declared, workflow, week)
        return all(map(is_whole, opened.file_uris([(name, "=", value) for name, value in partition.items()])))

    def all_lineage(self, *, workflow: str, tables: Sequence[str] | None = None) -> pl.DataFrame:
        """The last write of every partition of a workflow, or of some tables of it: only their files are read."""
        if tables is None:
            return self._scan(TABLES["lineage"], {"workflow": workflow})
        every = list(TABLES["lineage"].polars_schema())
        return self.read_columns("lineage", every, workflow=workflow, where=pl.col("table_name").is_in(list(tables)))

    def version(self, table: str) -> int | None:
        """Newest Delta version of a table, or None before its first write."""
        return opened.version() if (opened := self._open(declared_table(table))) else None

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        """The table at `version`, or as it is now: of one opened before, only the commits since are read."""
        place, uri = (threading.get_ident(), table.name), self.uri(table.name)
        known = self._opened.pop(place, None) if version is None else None
        if known and (is_remote(uri) or (Path(uri) / "_delta_log").is_dir()):
            with suppress(DeltaError), reaching(uri):  # its log was scrubbed meanwhile: open it anew
                known.update_incremental()
                refuse_newer(table, known)
                self._opened[place] = known
                return known
        try:
            with reading(table.name, uri):
                opened = open_table(uri, version)
        except TableNotFoundError:
            return None
        refuse_newer(table, opened)
        if version is None:
            self._opened[place] = opened
        return opened

    def _scan(
        self, table: Table, partition: Mapping[str, str], version: int | None = None, where: pl.Expr | None = None
    ) -> pl.DataFrame:
        opened = self._open(table, version)
        if opened is None:
            return pl.DataFrame(schema=table.polars_schema())
        kinds = table.polars_schema()
        with reading(table.name, self.uri(table.name)):
            scan = pl.scan_delta(opened)
            for column, value in partition.items():
                scan = scan.filter(pl.col(column) == value)
            found = declared_rows(scan if where is None else scan.filter(where), kinds, self.root)
        return found.cast(kinds).sort(list(table.key))  # pyright: ignore[reportArgumentType]

    def batches(
        self, table: str, *, workflow: str, week: str, columns: list[str], shard: int | None = None, rows: int = 8_000
    ) -> Iterator[pl.DataFrame]:
        """One partition, or one shard of it, in frames of at most `rows` rows; nothing but a frame is held in memory."""
        import pyarrow.dataset as ds

        opened = self._open(declared_table(table))
        if opened is None:
            return
        wanted = (ds.field("week") == week) & (ds.field("workflow") == workflow)
        if shard is not None:
            wanted &= ds.field("shard") == shard
        # File by file: a scan over all of them reads ahead of a slow reader without bound.
        dataset = opened.to_pyarrow_dataset()
        for fragment in dataset.get_fragments(wanted):
            for batch in fragment.to_batches(
                schema=dataset.schema, columns=columns, filter=wanted, batch_size=rows, batch_readahead=1, use_threads=False,
            ):  # fmt: skip
                if batch.num_rows:
                    yield pl.DataFrame(batch)

    def _overwrite(
        self, table: Table, frame: pl.DataFrame, predicate: str, run_id: str, inputs: Mapping[str, int] | None,
        onto: int | None = None,
    ) -> int:  # fmt: skip
        metadata = {"dagster_run_id": run_id, "inputs": canonical_json(dict(inputs or {}))}
        for _ in tries():
            opened, uri = self._open(table, onto), self.uri(table.name)
            try:
                with writing(table.name, uri):
                    if opened and onto is None:
                        renew_stamp(table, opened)
                    write_deltalake(
                        opened or uri, frame.to_arrow(), mode="overwrite", predicate=predicate, writer_properties=_WRITER,
                        partition_by=[*table.partitions, *table.layout], commit_properties=CommitProperties(custom_metadata=metadata),
                        schema_mode="merge" if opened else None,  # a column declared later is added, null in older rows
                        storage_options=None if opened else options(uri), name=None if opened else stamp(table),
                        configuration=None if opened else table_configuration(uri),
                    )  # fmt: skip
                    (written := opened or open_table(uri)).update_incremental()
                return written.version()
            except CommitFailedError:  # the last writer wins, unless its rows were made from a version
                if onto is not None:
                    raise
        raise overtaken(table.name, self.uri(table.name))

    def _create(self, table: Table) -> None:
        """Make the empty table where there is none: two first writers must not each make it."""
        opened = self._open(table)
        if opened:
            renew_stamp(table, opened)
        else:
            schema = pl.DataFrame(schema=table.polars_schema()).to_arrow().schema
            partitions = [*table.partitions, *table.layout]
            with suppress(DeltaError):  # somebody else was faster
                DeltaTable.create(self.uri(table.name), schema, "ignore", partitions, configuration=table_configuration(self.root), name=stamp(table), storage_options=options(self.root))  # pyright: ignore[reportArgumentType]  # fmt: skip

    def _adopt(
        self, table: Table, rows: Files, partition: Mapping[str, str], run_id: str, inputs: Mapping[str, int] | None
    ) -> int:
        """Move files that workers wrote into the table and make them the partition, in one commit.

        The log says only how many rows a file has: minima and maxima of text would leak it into the log.
        """
        self._create(table)
        opened = open_table(uri := self.uri(table.name))
        actions: list[AddAction | RemoveAction] = [adopted(file, uri, partition) for file in rows.files]
        metadata = {"dagster_run_id": run_id, "inputs": canonical_json(dict(inputs or {}))}
        opened.create_write_transaction(
            actions, "overwrite", opened.schema(), partition_by=[*table.partitions, *table.layout],
            partition_filters=[(column, "=", value) for column, value in partition.items()],
            commit_properties=CommitProperties(custom_metadata=metadata),
        )  # fmt: skip
        return open_table(uri).version()

    def _record(self, table_name: str, partition: Mapping[str, str], row: dict[str, Any]) -> None:
        lineage = TABLES["lineage"]
        values = {"table_name": table_name, "workflow": partition["workflow"], "week": partition.get("week", NO_WEEK)}
        predicate = " AND ".join(f"{column} = '{value}'" for column, value in values.items())
        self._overwrite(lineage, conform(lineage, [row], values), predicate, row["run_id"], None)
