"""What goes wrong between the lake and its disk, said with place and remedy: damaged files, a full or read-only disk.

What goes here: telling such errors apart from mistakes of ours. What does not: a partition that was never written (`missing.py`).
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from flywheel.errors import FlywheelError
from flywheel.lake.place import is_remote, reaching

_NO_PLACE = re.compile(r"No space left|StorageFull|QuotaExceeded|Disk quota", re.IGNORECASE)
_NO_WRITING = re.compile(r"Read-only file system|ReadOnlyFilesystem|Permission denied|PermissionDenied", re.IGNORECASE)


class DamagedTable(FlywheelError):
    """A table of the lake cannot be read: every later week meets it too."""


@contextmanager
def reading(table: str, uri: str) -> Iterator[None]:
    """Turn what a broken or missing file raises into DamagedTable naming the file and what mends it."""
    try:
        with reaching(uri):
            yield
    except TableNotFoundError:
        raise
    # polars panics on a file that is shorter than its log says, which is no Exception.
    except (DeltaError, pl.exceptions.ComputeError, pl.exceptions.PanicException, OSError) as error:
        raise DamagedTable(
            f"table {table} cannot be read: {_first_line(error)}", where=uri,
            remedy="run the stage that writes it again, for the week named in the file's path: it finds the damage and writes the week "
            "anew; where that does not help (a log that cannot be read, an append-only table), put the folder back from a backup",
        ) from error  # fmt: skip


@contextmanager
def writing(table: str, uri: str) -> Iterator[None]:
    """Turn what a full or read-only disk raises into an error with a remedy; nothing of the write counts."""
    try:
        with reaching(uri):
            yield
    except CommitFailedError:
        raise
    except (DeltaError, OSError) as error:
        said, number = str(error), getattr(error, "errno", None)
        if _NO_PLACE.search(said) or number in (errno.ENOSPC, errno.EDQUOT):
            what, remedy = "the disk is full", "free some space (flywheel doctor shows how much there is)"
        elif _NO_WRITING.search(said) or number in (errno.EROFS, errno.EACCES, errno.EPERM):
            what, remedy = (
                "the lake may not be written to",
                "mount it for writing, or give this user the right to write there",
            )
        else:
            raise
        raise FlywheelError(
            f"table {table} was not written: {what}", where=uri,
            remedy=f"{remedy}, then run the stage again: what was committed before stands, and nothing half-written counts",
        ) from error  # fmt: skip


def is_whole(uri: str) -> bool:
    """Whether a data file is there and its footer can be read; True for files elsewhere than on a local disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_remote(uri):
        return True
    try:
        pq.read_metadata(uri)
    except (OSError, pa.ArrowException):
        return False
    return True


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:400]
