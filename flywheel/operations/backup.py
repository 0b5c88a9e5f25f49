"""`flywheel backup FOLDER`: the house at one moment, copied while it works; only a folder with its manifest is a backup.

First the versions of all tables are noted, then they are copied, then everything else: what a stage or a person wrote in between is
in the copy as after a killed process, which every stage goes on from. All of FLYWHEEL_HOME is taken but what `_NOT_TAKEN` names.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import flywheel
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.cut import TableCut, cut, data_files, versions_now
from flywheel.lake.place import local_folder
from flywheel.operations.alone import alone
from flywheel.operations.backup_manifest import MANIFEST, File, Manifest, copied, write_manifest
from flywheel.operations.keeping import adapters_to_keep, pinned_versions
from flywheel.settings import Settings
from flywheel.workflows.loader import find_pack, installed_workflows
from flywheel.workflows.retention_settings import Retention

HOME, DAGSTER, RECORD = "home", "dagster", "backups.jsonl"
# Made again from what is copied or fetched again (models, scratch, bundles), houses of their own (lap, weeks), or taken otherwise.
_NOT_TAKEN = (
    "models",
    "scratch",
    "bundles",
    "lap",
    "weeks",
    "lake",
    "checkpoints",
    "vault",
    "maintenance.lock",
    RECORD,
)
_SQLITE = b"SQLite format 3\0"
_BESIDE_SQLITE = ("-wal", "-shm", "-journal")
# Of an instance without a storage of its own in dagster.yaml, what Dagster keeps in DAGSTER_HOME.
_DAGSTERS_OWN = ("history", "schedules", "storage")


class DagsterStorage(NamedTuple):
    """Where Dagster keeps runs and events: a folder and the names in it that are Dagster's (None: all); or a sentence why it is not a folder."""

    folder: Path | None
    names: tuple[str, ...] | None = None
    elsewhere: str | None = None


def back_up(settings: Settings, folder: Path, *, vault: Path | None = None, inbox: bool = True) -> Manifest:
    """Write a backup of the house into `folder`, which must be empty or absent.

    Args:
        vault: another empty folder for keys and originals, so that whoever holds the backup cannot unseal them.
        inbox: whether production's raw logs come along; without them no week can be collected again.

    Raises FlywheelError when a folder is not empty, lies in the house, or something cannot be copied; then there is no manifest.
    """
    if not settings.home.is_dir():
        raise FlywheelError(
            "there is nothing to back up", where=str(settings.home), remedy="set FLYWHEEL_HOME to where the house is"
        )
    if settings.vault_folder and vault is None:
        raise FlywheelError("the vault lies apart (FLYWHEEL_VAULT_FOLDER) and would be copied beside the data", where=str(settings.vault()),
                            remedy="name another place for it: flywheel backup FOLDER --vault OTHER")  # fmt: skip
    root = local_folder(settings.lake(), "a backup")
    for target in [folder, *([vault] if vault else [])]:
        _refuse(settings, target)
    with alone(settings, "a backup"):
        lake, workflows = Lake(settings.lake()), installed_workflows(settings.workflows())
        at = datetime.now(UTC)
        versions = versions_now(root)
        tables = cut(root, versions, pinned_versions(lake, workflows))
        files = dict(_copy_tables(root, tables, folder))
        adapters = _adapters(settings, lake)
        files |= _copy_tree(settings.home, folder / HOME, folder, skip=_NOT_TAKEN + (() if inbox else ("inbox",)))
        for workflow, names in adapters.items():
            for name in names:
                source = settings.checkpoints(workflow) / name
                files |= _copy_tree(source, folder / HOME / "checkpoints" / workflow / name, folder)
        storage = dagster_storage()
        if storage.folder and not _inside(storage.folder, settings.home):
            files |= _copy_tree(storage.folder, folder / DAGSTER, folder, skip=("compute_logs",), only=storage.names)
        if vault is None:
            files |= _copy_tree(settings.vault(), folder / HOME / "vault", folder)
        _check_tables(folder, tables)
        told = _elsewhere(settings, storage, vault, inbox, workflows)
        manifest = _manifest(at, files, told, tables=versions, pinned={one.table: [*one.pinned] for one in tables if one.pinned},
                             adapters=adapters, vault_apart=vault is not None)  # fmt: skip
        if vault is not None:
            kept = dict(_copy_tree(settings.vault(), vault / "vault", vault))
            write_manifest(vault, _manifest(at, kept, [f"the house is in {folder.absolute()}"]))
        whole = write_manifest(folder, manifest)
        _record(settings, folder, whole)
        return whole


def _refuse(settings: Settings, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FlywheelError("the folder of a backup must be empty", where=str(folder),
                            remedy="name a new one, e.g. with today's date; delete a backup that was interrupted")  # fmt: skip
    if _inside(folder, settings.home):
        raise FlywheelError(
            "a backup inside the house is lost with it", where=str(folder), remedy="name a folder on another disk"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FlywheelError(
            f"the folder cannot be made: {error.strerror}", where=str(folder), remedy="name one that can"
        ) from None


def _inside(folder: Path, house: Path) -> bool:
    return folder.resolve().is_relative_to(house.resolve())


def _copy_tables(root: Path, tables: list[TableCut], folder: Path) -> Iterator[tuple[str, File]]:
    for table in tables:
        for name in table.files:
            yield f"{HOME}/lake/{name}", _copy(root / name, folder / HOME / "lake" / name)


def _check_tables(folder: Path, tables: list[TableCut]) -> None:
    """The copy reads as the cut: a log that lost entries while it was copied would show here and not a year later."""
    for table in tables:
        copy = folder / HOME / "lake" / table.table
        for version in (table.version, *table.pinned):
            if not all((copy / name).is_file() for name in data_files(copy, version)):
                raise FlywheelError(f"version {version} of {table.table} is not whole in the copy", where=str(copy),
                                    remedy="flywheel doctor; then back up again into another folder")  # fmt: skip


def _adapters(settings: Settings, lake: Lake) -> dict[str, list[str]]:
    """Workflow -> adapters to copy: those that serve, were promoted, or are of the newest weeks."""
    found: dict[str, list[str]] = {}
    root = settings.checkpoints("x").parent
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        kept = adapters_to_keep(lake, folder.name, retention_of(settings, folder.name).adapters_weeks)
        found[folder.name] = sorted(name for name in kept if (folder / name).is_dir())
    return found


def retention_of(settings: Settings, workflow: str) -> Retention:
    """The pack's policy; the defaults where the pack is gone or broken."""
    try:
        return find_pack(settings.workflows(), workflow).settings.retention
    except FlywheelError:
        return Retention()


def _copy_tree(
    source: Path, target: Path, folder: Path, *, skip: tuple[str, ...] = (), only: tuple[str, ...] | None = None
) -> Iterator[tuple[str, File]]:
    """Copy all files below `source` but those under a name of `skip`; yields their place in the backup. SQLite by its own backup."""
    seen: set[Path] = set()
    for at, folders, names in os.walk(source, followlinks=True):
        here = Path(at)
        top = here == source
        folders[:] = sorted(
            name for name in folders if not (top and (name in skip or (only is not None and name not in only)))
        )
        if here.resolve() in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(here.resolve())
        for name in sorted(names):
            path = here / name
            if (top and (name in skip or only is not None)) or name.endswith(".partial") or _beside_sqlite(path):
                continue
            goal = target / path.relative_to(source)
            with suppress(FileNotFoundError):  # gone since it was listed: a temporary file
                yield goal.relative_to(folder).as_posix(), _copy(path, goal)


def _beside_sqlite(path: Path) -> bool:
    return any(
        path.name.endswith(end) and path.with_name(path.name.removesuffix(end)).is_file() for end in _BESIDE_SQLITE
    )


def _copy(source: Path, target: Path) -> File:
    try:
        with source.open("rb") as opened:
            sqlite = opened.read(len(_SQLITE)) == _SQLITE
        return _copy_sqlite(source, target) if sqlite else copied(source, target)
    except FileNotFoundError:
        raise
    except (OSError, sqlite3.Error) as error:
        raise FlywheelError(f"it cannot be copied: {error}", where=str(source),
                            remedy="mend that (space, rights, a damaged file), delete the half backup, run it again") from None  # fmt: skip


def _copy_sqlite(source: Path, target: Path) -> File:
    """One transaction's view of a database that others write, its write-ahead log folded in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb"):
        pass
    target.chmod(source.stat().st_mode & 0o777)
    with closing(sqlite3.connect(source, timeout=60)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)
        said = written.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(said)
    return copied(target, None)


def dagster_storage() -> DagsterStorage:
    """Where the instance of DAGSTER_HOME, or of the working folder, keeps its runs, by its dagster.yaml."""
    folder = Path(os.environ.get("DAGSTER_HOME") or Path.cwd())
    file = folder / "dagster.yaml"
    if not file.is_file():
        return DagsterStorage(
            None,
            elsewhere="no dagster.yaml was found, so no runs of Dagster are in here: run it from the project's folder",
        )
    config: Mapping[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    storage = config.get("storage") or {}
    if not storage:
        return DagsterStorage(folder, _DAGSTERS_OWN)
    if "sqlite" in storage:
        return DagsterStorage(folder / storage["sqlite"].get("base_dir", "."))
    return DagsterStorage(
        None, elsewhere=f"Dagster's runs lie in a database ({', '.join(storage)}): pg_dump it, right after this backup"
    )


def _elsewhere(
    settings: Settings, storage: DagsterStorage, vault: Path | None, inbox: bool, workflows: list[str]
) -> list[str]:
    """What belongs to the house and is not in the backup."""
    told = [storage.elsewhere] if storage.elsewhere else []
    if settings.qa_store_url:
        from sqlalchemy import URL, make_url

        known = make_url(settings.qa_store_url)
        url = URL.create("postgresql", known.username, None, known.host, known.port, known.database, known.query)
        told.append(
            f"the QA store: pg_dump --schema=flywheel_qa --format=custom --file=qa.dump '{url}', right after this backup"
        )
    if vault is not None:
        told.append(f"the vault, with the keys of persons: {vault.absolute()}")
    if not inbox:
        told.append("production's raw logs: without them no week can be collected again")
    models = sorted(path.name for path in settings.models().iterdir()) if settings.models().is_dir() else []
    told += [f"base models, fetched again with flywheel model add: {', '.join(models)}"] if models else []
    for workflow in workflows:
        with suppress(FlywheelError):
            if place := find_pack(settings.workflows(), workflow).settings.traces.inbox:
                told.append(f"the inbox of {workflow}: {place}")
    return told


def _manifest(at: datetime, files: Mapping[str, File], elsewhere: list[str], **holds: Any) -> Manifest:
    return Manifest(
        made_at=at.isoformat(timespec="seconds"), flywheel=flywheel.__version__, elsewhere=elsewhere,
        files=dict(sorted(files.items())), **{"tables": {}, "pinned": {}, "adapters": {}, **holds},
    )  # fmt: skip


def _record(settings: Settings, folder: Path, manifest: Manifest) -> None:
    """Remember where backups went: an erasure names them, and doctor says how old the newest is."""
    line = {"made_at": manifest.made_at, "folder": str(folder.absolute()), "digest": manifest.digest}
    with (settings.home / RECORD).open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(line) + "\n")


def known_backups(settings: Settings) -> list[dict[str, str]]:
    """The backups that were made of this house and still lie where they were written, oldest first."""
    file, found = settings.home / RECORD, []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        with suppress(ValueError):  # a line that a killed backup left half
            entry = json.loads(line)
            found += [entry] if (Path(entry["folder"]) / MANIFEST).is_file() else []
    return found
