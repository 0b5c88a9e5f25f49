"""The manifest of a backup: written last, so a folder without one is no backup, and every file's size and hash, so damage is named."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


class File(NamedTuple):
    """One file of a backup: its size in bytes and the hash of its content."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        schema_version: of this file; a newer one is refused.
        made_at: when the cut was made, UTC, ISO 8601.
        flywheel: version of the program that made it.
        tables: Delta table -> version in the cut.
        pinned: Delta table -> older versions that came along.
        adapters: workflow -> adapters that came along.
        vault_apart: whether the vault was copied to another folder.
        elsewhere: what belongs to the house and is not in here, one sentence each with what to do about it.
        files: path inside the backup -> size and hash; the manifest itself is not among them.
        digest: hash of all of the above.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    made_at: str
    flywheel: str
    tables: dict[str, int]
    pinned: dict[str, list[int]]
    adapters: dict[str, list[str]]
    vault_apart: bool = False
    elsewhere: list[str]
    files: dict[str, File]
    digest: str = ""

    def content_digest(self) -> str:
        """Hash of all but the digest."""
        return sha256_of(self.model_dump(mode="json", exclude={"digest"}))

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Make the folder a backup: everything in it is on disk by now, then comes the manifest, whole or not at all."""
    whole = manifest.model_copy(update={"digest": manifest.content_digest()})
    os.sync()  # the files before the word that they are there
    partial = folder / f"{MANIFEST}.partial"
    with partial.open("w", encoding="utf-8") as opened:
        opened.write(whole.model_dump_json(indent=1) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    partial.replace(folder / MANIFEST)
    return whole


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup; raises FlywheelError when there is none, or it was changed."""
    remedy = "use another backup: this one was interrupted, or damaged since"
    try:
        values: Mapping[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if values.get("schema_version", 1) != 1:
            raise FlywheelError(f"the backup has format {values['schema_version']}, this program reads 1", where=str(folder / MANIFEST),
                                remedy="restore it with the version of flywheel that made it, or a newer one")  # fmt: skip
        manifest = Manifest.model_validate(values)
    except FileNotFoundError:
        raise FlywheelError("this is no whole backup: its manifest, which is written last, is missing", where=str(folder),
                            remedy=remedy) from None  # fmt: skip
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise FlywheelError(
            f"the manifest cannot be read: {first}", where=str(folder / MANIFEST), remedy=remedy
        ) from None
    if manifest.digest != manifest.content_digest():
        raise FlywheelError(
            "the manifest was changed after it was written", where=str(folder / MANIFEST), remedy=remedy
        )
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file and compare it with the manifest; raises FlywheelError that names the first that is not as it was."""
    remedy = "restore from another backup; this one is damaged"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    for name in sorted(there - set(manifest.files)):
        raise FlywheelError(f"{name} is in the folder and no part of the backup", where=str(folder / name), remedy="find out who put it there, then delete it")  # fmt: skip
    for name, file in sorted(manifest.files.items()):
        path = folder / name
        if name not in there or path.is_symlink():
            raise FlywheelError(f"{name} is missing from the backup", where=str(path), remedy=remedy)
        if path.stat().st_size != file.bytes or copied(path, None).sha256 != file.sha256:
            raise FlywheelError(f"{name} is not as it was backed up", where=str(path), remedy=remedy)


def copied(source: Path, target: Path | None) -> File:
    """Copy a file, its mode with it, hashing as it goes; with no target it is only hashed. `os.sync` is the caller's."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read:
        if target is None:
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
            return File(size, digest.hexdigest())
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = source.stat().st_mode & 0o777
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as written:
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                written.write(chunk)
    target.chmod(mode)
    return File(size, digest.hexdigest())
