"""Every Delta table carries the version of its declaration, as its name in the table's own metadata: `production_traces/1`.

A column that is added changes no version: old rows read as null, and a program that does not know it leaves it out. The version goes up
where a column changes its meaning or its type, or a partition or key is another: then an older program must not read on.
"""

from deltalake import DeltaTable

from flywheel.errors import FlywheelError
from flywheel.lake.table import Table


def stamp(table: Table) -> str:
    """What the table's metadata say: its name and the version of its declaration."""
    return f"{table.name}/{table.schema_version}"


def stamped_version(opened: DeltaTable) -> int:
    """The version a table was written under; 1 where it says nothing, as tables of the first programs do."""
    _, slash, version = (opened.metadata().name or "").rpartition("/")
    return int(version) if slash and version.isdigit() else 1


def refuse_newer(table: Table, opened: DeltaTable) -> None:
    """Raise FlywheelError when a later version of flywheel wrote the table in a form this one does not know."""
    found = stamped_version(opened)
    if found > table.schema_version:
        raise FlywheelError(
            f"{table.name} has schema version {found}, and this flywheel knows {table.schema_version}: a newer one wrote it", where=opened.table_uri,
            remedy="use the flywheel that wrote it, or a newer one; or restore a backup from before (docs/operations.md). Nothing was changed",
        )  # fmt: skip


def renew_stamp(table: Table, opened: DeltaTable) -> None:
    """Write the declaration's version into a table from before, ahead of the first rows under it."""
    if stamped_version(opened) < table.schema_version:
        opened.alter.set_table_name(stamp(table))
        opened.update_incremental()
