"""A folder of files that is handed to others: it appears whole or not at all, and never in place of something else."""

from collections.abc import Callable
from pathlib import Path

from flywheel.errors import FlywheelError


def put_in_place(partial: Path, folder: Path, *, is_same: Callable[[], bool], remedy: str) -> bool:
    """Move a finished folder to its place, beside which it lies; the same content there already stays as it is.

    Args:
        is_same: whether what lies in `folder` is what was written; asked only where something does.
        remedy: what to do where it is something else.

    Returns:
        Whether it was moved. Raises FlywheelError when `folder` holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if is_same():
            return False
        raise FlywheelError("the folder holds something else", where=str(folder), remedy=remedy)
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
    return True
