"""A consistent cut through the lake: every table at one version, and the files that this version and pinned older ones need.

Nothing is copied here. The files named stay what they are while others write: Delta never changes a file, and only a vacuum or an
erasure removes one; both take the same lock as a backup does (`operations/alone.py`).
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

LOG = "_delta_log"


class TableCut(NamedTuple):
    """One table at one version: its name, the version, older versions that come along, and all files, relative to the lake's root."""

    table: str
    version: int
    pinned: tuple[int, ...]
    files: tuple[str, ...]


def versions_now(root: Path) -> dict[str, int]:
    """The newest version of every Delta table under `root`.

    `lineage` is looked at first: it is written after the table it speaks of, so it may lag behind the others in a cut, as after a
    killed stage, and never names a version that the cut has not got.
    """
    folders = sorted(folder for folder in root.iterdir() if (folder / LOG).is_dir()) if root.is_dir() else []
    folders.sort(key=lambda folder: folder.name != "lineage")
    return {folder.name: DeltaTable(str(folder)).version() for folder in folders}


def cut(root: Path, versions: Mapping[str, int], pins: Mapping[str, Collection[int]]) -> list[TableCut]:
    """The files of each table at its version and at the pinned versions that can still be read, log entries included."""
    return [_table_cut(root, table, version, pins.get(table, ())) for table, version in versions.items()]


def _table_cut(root: Path, table: str, version: int, pinned: Collection[int]) -> TableCut:
    files = data_files(root / table, version)
    kept = []
    for older in sorted(set(pinned)):
        more = readable(root / table, older) if older <= version else None
        if more is not None:
            kept.append(older)
            files |= more
    # The hint `_last_checkpoint` stays behind: it may name a later version, and readers find the newest checkpoint without it.
    log = {
        f"{LOG}/{path.name}" for path in (root / table / LOG).iterdir() if is_entry(path) and number(path) <= version
    }
    return TableCut(table, version, tuple(kept), tuple(sorted(f"{table}/{name}" for name in files | log)))


def data_files(folder: Path, version: int) -> set[str]:
    """Data files of a table's version, relative to its folder; raises deltalake's errors when its log is gone."""
    place = folder.resolve()
    return {Path(file).relative_to(place).as_posix() for file in DeltaTable(str(place), version=version).file_uris()}


def readable(folder: Path, version: int) -> set[str] | None:
    """The same for an older version; None when its log entries or one of its files are gone."""
    try:
        files = data_files(folder, version)
    except (DeltaError, TableNotFoundError):
        return None
    return files if all((folder / name).is_file() for name in files) else None


def is_entry(path: Path) -> bool:
    """Whether a file of the log is a commit or a checkpoint, whose name begins with its version."""
    return path.name.split(".")[0].isdigit()


def number(path: Path) -> int:
    """The version that a commit or checkpoint belongs to."""
    return int(path.name.split(".")[0])
