"""Where the lake's tables lie: a folder of this machine, or a prefix of a bucket in S3-compatible storage (`s3://bucket/prefix`).

What goes here: opening, putting, listing and removing by address. Endpoint, region and keys of a bucket come from the environment alone
(AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP), under the names that deltalake, polars and
obstore read by themselves: nothing secret passes through this code. There is no lock table: a commit is one put that the store refuses
where the version is taken.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from flywheel.errors import FlywheelError, Interrupted

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Root = Path | str
# Of two writers of one version, the second one's put is refused.
OPTIONS = {"conditional_put": "etag"}
# What keeps a version's log entries until `flywheel prune` takes them away.
KEEP_LOG = {"delta.enableExpiredLogCleanup": "false"}
_BUCKET = re.compile(r"s3://(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*/?")
_TRIED = re.compile(r"after \d+ retries|timed out")
_COLOURS = re.compile(r"\x1b\[\d*m")
_SETTINGS = "AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (flywheel doctor asks it again)"


def is_remote(root: Root) -> bool:
    """Whether the tables lie in a bucket."""
    return isinstance(root, str) and "://" in root


def checked(root: Root) -> Root:
    """A folder as a path, a bucket's prefix without a slash at its end; raises FlywheelError for any other address."""
    if not is_remote(root):
        return Path(root)
    if not _BUCKET.fullmatch(str(root)):
        raise FlywheelError("the lake cannot lie at such an address", where="FLYWHEEL_LAKE",
                            remedy="name a folder, or s3://bucket/prefix; keys and endpoint belong into the environment: AWS_ACCESS_KEY_ID …")  # fmt: skip
    return str(root).rstrip("/")


def local_folder(root: Root, deed: str) -> Path:
    """The root as a folder of this machine, for what copies or removes files by their paths; raises FlywheelError for a bucket.

    Args:
        deed: what wants the folder, for the sentence.
    """
    if is_remote(root):
        raise FlywheelError(f"{deed} works on a lake in a folder, and this one lies in a bucket", where=str(root),
                            remedy="let the store do it: replication for a backup, rules of the bucket for old objects (docs/deployment.md)")  # fmt: skip
    return Path(root)


def joined(root: Root, name: str) -> str:
    """Address of a table below the root."""
    return f"{root}/{name}" if is_remote(root) else str(Path(root) / name)


def options(uri: str) -> dict[str, str] | None:
    """What deltalake is told beside the environment; nothing for a folder."""
    return OPTIONS if is_remote(uri) else None


def table_configuration(uri: Root) -> dict[str, str]:
    """Properties a new table gets.

    Opening a table replays its commits since the last checkpoint: at the default of 100 a year of weeks opens five times slower. Delta would
    drop log entries after thirty days, and pinned versions with them: in a folder `retention.py` does it with care, in a bucket nobody else does.
    """
    return {"delta.checkpointInterval": "10", **({} if is_remote(uri) else KEEP_LOG)}


def open_table(uri: str, version: int | None = None) -> DeltaTable:
    """The table at an address; raises TableNotFoundError where there is none."""
    return DeltaTable(uri, version=version, storage_options=options(uri))


@contextmanager
def reaching(root: Root) -> Iterator[None]:
    """Say of a bucket that does not answer, or refuses, where it is and what to look at: Interrupted when waiting may help."""
    try:
        yield
    except Exception as error:
        said = " ".join(_COLOURS.sub("", str(error)).replace("↳", "").split())
        if not is_remote(root) or not (isinstance(error, OSError) or " S3 error" in f" {said}"):
            raise
        kind = Interrupted if _TRIED.search(said) else FlywheelError
        raise kind(f"the lake's bucket does not answer as it should: {said[:300]}", where=str(root),
                   remedy=f"see that the bucket exists and look at {_SETTINGS}") from error  # fmt: skip


def bucket(root: Root) -> "ObjectStore":
    """The objects below an address of a bucket; raises FlywheelError where the package for it is missing."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise FlywheelError("a lake in a bucket needs the package obstore", where=str(root),
                            remedy="pip install 'flywheel-loop[s3]'") from None  # fmt: skip
    return from_url(str(root))


def put(file: Path, uri: str, name: str) -> None:
    """Carry a local file into a bucket, and remove it here once it is there."""
    with reaching(uri):
        bucket(uri).put(name, file)
    file.unlink()


@contextmanager
def as_folder(root: Root) -> Iterator[Path]:
    """Everything below the root as files of this machine, to be searched: the folder itself, or copies of a bucket's objects for so long."""
    if not is_remote(root):
        yield Path(root)
        return
    with TemporaryDirectory(prefix="flywheel-lake-") as folder, reaching(root):
        store = bucket(root)
        for found in store.list():
            for one in found:
                target = Path(folder) / one["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    for part in store.get(one["path"]):
                        file.write(part)
        yield Path(folder)


def check_bucket(root: Root) -> str:
    """Put one object under a name that is taken: a store that lets it pass would let two commits overwrite each other.

    Returns what was found; raises FlywheelError saying what is wrong with the store.
    """
    store, name = bucket(root), f"_probe-{uuid.uuid4()}"
    with reaching(root):
        store.put(name, b"first", mode="create")
        try:
            store.put(name, b"second", mode="create")
        except Exception as refused:
            if type(refused).__name__ == "AlreadyExistsError":
                return f"{root} answers, and refuses a second put of one name"
            raise
        finally:
            store.delete(name)
    raise FlywheelError(f"{root} overwrites an object that a put must not overwrite: commits would be lost", where=str(root),
                        remedy="use a store with conditional puts (If-None-Match): AWS S3, MinIO, Ceph 19 or newer")  # fmt: skip
