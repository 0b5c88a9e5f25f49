"""Reading (and answering into) a folder that somebody else made: only declared names, only regular files inside it, bounded sizes.

A manifest is written by others: a name that climbs (`../`), is absolute, goes through a link or hides is refused, not read.
"""

import os
import re
import stat
from pathlib import Path

MAXIMUM_BYTES = 512 * 1024 * 1024
# Every step begins with a letter or digit, which leaves no room for "..", hidden files, drives, or another separator.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}")


class HostileName(ValueError):
    """The name may not be read; the message says why."""


class Unreadable(ValueError):
    """There is no such regular file of a sane size; the message says which."""


def checked(name: object) -> str:
    """The name, or HostileName."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise HostileName("a file name here is relative, of letters, digits, . _ - and at most three folders deep")
    return name


def read(root: Path, name: str, *, limit: int = MAXIMUM_BYTES) -> bytes:
    """The bytes of a file under `root`; raises HostileName or Unreadable. No link is followed below `root`."""
    steps = checked(name).split("/")
    place = root
    for number, step in enumerate(steps):
        place = place / step
        try:
            mode = os.lstat(place).st_mode
        except OSError:
            raise Unreadable(f"{name} is not there") from None
        if stat.S_ISLNK(mode):
            raise HostileName(f"{name} goes through a link")
        if number + 1 == len(steps) and not stat.S_ISREG(mode):
            raise Unreadable(f"{name} is no regular file")
    try:
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        raise Unreadable(f"{name} cannot be read") from None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"{name} is larger than {limit:,} bytes")
    return data


def write(folder: Path, name: str, data: bytes) -> None:
    """Write a file whole; a link of that name, which the sender may have left there, is replaced and not followed."""
    partial = folder / f".{name}.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(partial, folder / name)


def lines(data: bytes) -> list[bytes]:
    """The lines of a JSONL file, without blank ones at its end."""
    found = data.split(b"\n")
    while found and not found[-1].strip():
        found.pop()
    return found
