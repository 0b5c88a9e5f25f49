"""`flywheel restore FOLDER`: a backup into an empty house, checked before and after; whole or not at all.

Everything is read and compared with the manifest first, then copied beside its place and moved there. What the copy holds of people who
were erased after it was made is named, because erasing them again is the restorer's first duty (docs/operations.md).
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.lake.cut import data_files
from flywheel.operations.backup import DAGSTER, HOME, dagster_storage
from flywheel.operations.backup_manifest import Manifest, copied, read_manifest, verify
from flywheel.privacy.vault import Vault
from flywheel.promotion.pointer_file import write_pointer
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack, installed_workflows


class Restored(NamedTuple):
    """What a restore did.

    Attributes:
        manifest: of the backup.
        partitions: rows of `lineage` whose partition was opened and found with as many rows.
        pointers: workflows whose pointer file was written for the new place.
        told: what is left to do, one sentence each.
    """

    manifest: Manifest
    partitions: int
    pointers: list[str]
    told: list[str]


def restore(settings: Settings, folder: Path, *, vault: Path | None = None, lost_vault: bool = False) -> Restored:
    """Put a backup into FLYWHEEL_HOME (and Dagster's storage), which must be empty or absent.

    Args:
        vault: where the vault was backed up to, when that was apart. A vault of the same key that is in its place already stays:
            it is newer, and knows who was erased since.
        lost_vault: go on without it: the same people get new pseudonyms, and originals are gone.

    Raises FlywheelError when a place is not empty, or the backup is not whole; it names the file, and nothing was written.
    """
    if settings.lake() != settings.home / "lake":
        raise FlywheelError("a backup is restored with its tables below FLYWHEEL_HOME", where=f"FLYWHEEL_LAKE={settings.lake()}",
                            remedy="unset FLYWHEEL_LAKE, restore, then copy HOME/lake to where it shall lie and set it again")  # fmt: skip
    manifest = read_manifest(folder)
    verify(folder, manifest)
    if vault is not None:
        verify(vault, read_manifest(vault))
    elif manifest.vault_apart and not lost_vault:
        raise FlywheelError("the vault was backed up apart from this backup", where="; ".join(manifest.elsewhere),
                            remedy="name it: --vault FOLDER; if it is lost: --lost-vault, and the same people get new pseudonyms")  # fmt: skip
    keys = (vault or folder / HOME) / "vault"
    inside = settings.vault().resolve().is_relative_to(settings.home.resolve())
    places = _dagster_places(folder)
    if keys.is_dir() and not inside and not _same_key(keys, settings.vault()):
        places.append((keys, settings.vault()))
    for target in (*(target for _, target in places), settings.home):
        _refuse(target)
    for source, target in places:
        _move_in(source, target)
    # The house comes last: a killed restore leaves nothing that looks like one.
    _move_in(folder / HOME, settings.home, keys=keys if inside else None)
    left = [sentence for sentence in manifest.elsewhere if vault is None or not sentence.startswith("the vault,")]
    return _checked(settings, manifest, left)


def _dagster_places(folder: Path) -> list[tuple[Path, Path]]:
    if not (folder / DAGSTER).is_dir():
        return []
    storage = dagster_storage()
    if storage.folder is None:
        raise FlywheelError("the backup holds Dagster's runs, and here they have no folder", where=storage.elsewhere or "",
                            remedy="run it where a dagster.yaml keeps runs in SQLite, or set DAGSTER_HOME to such a folder")  # fmt: skip
    pairs = [(folder / DAGSTER / name, storage.folder / name) for name in storage.names or (".",)]
    return [(source, target) for source, target in pairs if source.is_dir()]


def _same_key(backed_up: Path, there: Path) -> bool:
    files = [place / "pseudonym.key" for place in (backed_up, there)]
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()


def _refuse(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FlywheelError("a backup is restored into an empty place only", where=str(target),
                            remedy="move what is there away, or set FLYWHEEL_HOME (and DAGSTER_HOME) to new folders")  # fmt: skip


def _move_in(source: Path, target: Path, keys: Path | None = None) -> None:
    """Copy a folder beside its place, with the vault `keys` where it belongs into it, then move it there."""
    target = target.resolve()
    staged = target.with_name(f"{target.name}.restoring")
    shutil.rmtree(staged, ignore_errors=True)  # of a restore that was killed
    try:
        staged.mkdir(parents=True)
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_file() and not (source.name == HOME and name.parts[0] == "vault"):
                copied(path, staged / name)
        for path in sorted(keys.glob("*")) if keys else []:
            copied(path, staged / "vault" / path.name)
        for private in (staged / "vault", staged / "qa" / "keys"):
            if private.is_dir():
                private.chmod(0o700)
        os.sync()
        if target.is_dir():
            target.rmdir()
        os.rename(staged, target)
    except OSError as error:
        raise FlywheelError(f"it cannot be restored: {error}", where=str(target),
                            remedy="mend that (space, rights), then run it again: nothing half was put in place") from None  # fmt: skip


def _checked(settings: Settings, manifest: Manifest, told: list[str]) -> Restored:
    """Open every table and count every partition that its lineage speaks of; then the pointers, whose paths are of this machine.

    `told` is what is left to do so far.
    """
    lake = Lake(settings.lake())
    for table, version in manifest.tables.items():
        found = settings.home / "lake" / table
        if not all((found / name).is_file() for name in data_files(found, version)):
            raise FlywheelError(
                f"version {version} of {table} is not whole", where=str(found), remedy="restore another backup"
            )
    partitions, pointers = 0, []
    for workflow in installed_workflows(settings.workflows()):
        partitions += lake.all_lineage(workflow=workflow).height
        try:
            pack = find_pack(settings.workflows(), workflow)
            base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
            write_pointer(settings, pack, base, lake.read_weeks("promotion_log", workflow=workflow))
            pointers.append(workflow)
        except FlywheelError as error:
            with suppress(FileNotFoundError):
                settings.pointer(workflow).unlink()  # it names folders of the old place
            told.append(
                f"the pointer of {workflow} is written when its base model is there: flywheel serve {workflow} ({error.what})"
            )
    back = _erased_again(settings, lake)
    told.append(
        (f"{len(back)} people who were erased have rows in it ({', '.join(back[:3])}): " if back else "")
        + f"erase again whoever was erased after {manifest.made_at}: flywheel erase --principal ID --by NAME"
    )
    return Restored(manifest, partitions, pointers, told)


def _erased_again(settings: Settings, lake: Lake) -> list[str]:
    """Pseudonyms with rows in the house although the vault remembers their erasure: the vault is newer than the backup."""
    erased = Vault(settings.vault()).erased() if settings.vault().is_dir() else frozenset()
    there = [lake.read_columns("production_traces", ("principal_ref",), workflow=workflow)["principal_ref"]
             for workflow in installed_workflows(settings.workflows())]  # fmt: skip
    return sorted(erased & {reference for column in there for reference in column})
