"""What the operating system refuses, said like every other error: what happened, where, and what to do about it."""

import errno
import os
import re
import shutil

from flywheel.errors import FlywheelError

_REMEDIES = {
    "make room: flywheel prune --dry-run lists what may go": (errno.ENOSPC, errno.EDQUOT),
    "give yourself the permission, or set FLYWHEEL_HOME to a folder that may be written": (
        errno.EACCES, errno.EPERM, errno.EROFS,
    ),
    "name another path; where this one lies in FLYWHEEL_HOME, set that to a folder": (
        errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST,
    ),
}  # fmt: skip
_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")


def refused(error: OSError) -> FlywheelError:
    """The error in words, with the file where it names one and the remedy that fits its number."""
    number, words, where = error.errno, error.strerror or str(error), error.filename
    if number is None and (found := _NUMBER.search(words)):  # of Delta tables and copied folders the text alone says it
        number = int(found[1] or found[2])
        if isinstance(error, shutil.Error):  # a line for each file of the folder
            words, where = os.strerror(number), error.args[0][0][1]
    remedy = next((remedy for remedy, numbers in _REMEDIES.items() if number in numbers), None)
    return FlywheelError(
        words[:1].lower() + words[1:] if words[1:2].islower() else words or type(error).__name__,
        where="" if where is None else os.fsdecode(where) if isinstance(where, bytes) else str(where),
        remedy=remedy or "mend that, then run the same command again",
    )
