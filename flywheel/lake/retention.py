"""Taking away: old versions of a table while pinned ones stay readable, and the rows of weeks whose time is over.

`vacuum(keep_versions=...)` of deltalake 1.6.6 keeps the data files of the versions named. It does not keep their log entries: those older
than thirty days go with the next checkpoint, the version is lost with them, and the vacuum itself then fails. So tables are made with that
cleanup off (`store.py`; tables from before get it here), and the log is cut here, around what a pinned version needs.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable

from flywheel.errors import FlywheelError
from flywheel.lake.conform import conform, declared_table, partition_values
from flywheel.lake.cut import LOG, is_entry, number, readable
from flywheel.lake.place import KEEP_LOG, open_table
from flywheel.lake.schemas import TABLES
from flywheel.lake.store import Lake

# Code version of a partition whose rows were taken away; everything else that lineage knows of it stays.
PRUNED = "pruned"


class OldVersions(NamedTuple):
    """What only old versions of a table need: data files and log entries, their bytes; and the pinned versions that were spared."""

    data: list[Path]
    log: list[Path]
    bytes: int
    pinned: list[int]


def old_versions(folder: Path, *, days: int, pins: Collection[int]) -> OldVersions:
    """Files that no version of the last `days` days and no pinned version needs. Nothing is changed."""
    pinned = [version for version in sorted(pins) if readable(folder, version) is not None]
    names = DeltaTable(str(folder)).vacuum(retention_hours=24 * days, dry_run=True, full=True, keep_versions=pinned or None,
                                           enforce_retention_duration=days >= 7)  # fmt: skip
    data = [path for path in (folder / name for name in names) if path.is_file()]
    log = _old_log(folder / LOG, datetime.now(UTC) - timedelta(days=days), pinned)
    return OldVersions(data, log, sum(path.stat().st_size for path in (*data, *log)), pinned)


def drop_old_versions(folder: Path, *, days: int, pins: Collection[int]) -> OldVersions:
    """Remove them; returns what was removed. A process killed in between leaves a table that reads as before."""
    table = DeltaTable(str(folder))
    if any(table.metadata().configuration.get(name) != value for name, value in KEEP_LOG.items()):
        table.alter.set_table_properties(KEEP_LOG)
    found = old_versions(folder, days=days, pins=pins)
    if found.data:
        DeltaTable(str(folder)).vacuum(retention_hours=24 * days, dry_run=False, full=True, keep_versions=found.pinned or None,
                                       enforce_retention_duration=days >= 7)  # fmt: skip
    for path in found.log:
        path.unlink(missing_ok=True)
    return found


def _old_log(log: Path, before: datetime, pinned: Collection[int]) -> list[Path]:
    """Log entries that neither the versions since `before` nor the pinned ones are read from.

    A version is read from the newest checkpoint at or before it and the commits after that, or from the first commit on.
    """
    entries = sorted((path for path in log.iterdir() if is_entry(path)), key=number)
    checkpoints = sorted({number(path) for path in entries if ".checkpoint" in path.name})
    commits = [path for path in entries if path.suffix == ".json"]
    recent = [number(path) for path in commits if path.stat().st_mtime >= before.timestamp()]
    # The version that was current when the time began is the one before the first commit in it.
    first = min([*recent, number(commits[-1]) + 1]) - 1
    base = max((version for version in checkpoints if version <= first), default=0)
    needed: set[int] = set()
    for version in pinned:
        start = max((checkpoint for checkpoint in checkpoints if checkpoint <= version), default=0)
        needed.update(range(start, version + 1))
    starts = {max((c for c in checkpoints if c <= version), default=0) for version in pinned}
    return [
        path for path in entries
        if number(path) < base and (number(path) not in needed if path.suffix == ".json" else number(path) not in starts)
    ]  # fmt: skip


def take_rows_away(lake: Lake, table: str, *, workflow: str, week: str, but: Collection[str] = ()) -> int:
    """Empty a week's partition, but for the runs `but`, and mark it as pruned; returns the rows taken.

    Its lineage still says what was written, so nothing that was made of it is made again; the stage that wrote it refuses to
    (`refuse_pruned`). The rows' bytes go with the old versions.
    """
    known = lake.lineage(table, workflow=workflow, week=week)
    if known is None:
        return 0
    declared = declared_table(table)
    partition = partition_values(declared, workflow, week)
    rows = lake.read_partition(table, workflow=workflow, week=week)
    kept = rows.filter(pl.col("trace_id").is_in(list(but))) if "trace_id" in rows.columns else rows.clear()
    told = {name: value for name, value in asdict(known).items() if name not in ("table_name", "workflow", "week")}
    lake._record(
        table, partition, {**told, "code_version": PRUNED}
    )  # first: a prune that is killed here is gone on with
    predicate = " AND ".join(f"{column} = '{value}'" for column, value in partition.items())
    lake._overwrite(declared, conform(declared, kept, partition), predicate, "", None)
    return rows.height - kept.height


def is_pruned(lake: Lake, table: str, *, workflow: str, week: str | None) -> bool:
    """Whether a partition's rows were taken away."""
    known = lake.lineage(table, workflow=workflow, week=week)
    return known is not None and known.code_version == PRUNED


def refuse_pruned(code_version: str, table: str, workflow: str, week: str | None) -> None:
    """Raise FlywheelError for a partition that was pruned: reading it would make later tables empty, writing it would undo the prune."""
    if code_version == PRUNED:
        raise FlywheelError(
            f"the rows of {table} for {workflow}, week {week}, were taken away after retention.traces_weeks; what was made of them stays",
            where=f"table {table}",
            remedy="nothing is to be done for that week; to collect it again, restore a backup from before: docs/operations.md",
        )


def partition_sizes(lake: Lake) -> pl.DataFrame:
    """table, workflow, week (null for tables without), rows and bytes of every partition as it is now, from the tables' logs."""
    found = []
    for table in sorted(TABLES):
        if lake.version(table) is None:
            continue
        actions = pl.DataFrame(open_table(lake.uri(table)).get_add_actions(flatten=True))
        for row in actions.iter_rows(named=True):
            week = row.get("partition.week")
            found.append((table, row.get("partition.workflow"), week, row.get("num_records") or 0, row["size_bytes"]))
    schema = {"table": pl.String, "workflow": pl.String, "week": pl.String, "rows": pl.Int64, "bytes": pl.Int64}
    frame = pl.DataFrame(found, schema=schema, orient="row")
    return (
        frame.group_by("table", "workflow", "week").agg(pl.col("rows", "bytes").sum()).sort("table", "workflow", "week")
    )
