"""Who was given which roles, by whom and why: an append-only file beside the users file, a hash-chained JSON line a change.

A change is written here before the users file changes, so that no role exists that nobody recorded. Passwords never stand here.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of

_FIELDS = ("at", "by", "name", "before", "after", "new_password", "reason")


class RoleChange(NamedTuple):
    """One change of one person: when (UTC, ISO 8601), by whom, whose roles, before and after, and why."""

    at: str
    by: str
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    new_password: bool
    reason: str

    def sentence(self) -> str:
        """What changed, without who and when."""
        if not self.after:
            return f"{self.name}: removed, had {', '.join(self.before) or 'no roles'}"
        if self.before == self.after:
            return f"{self.name}: new password, still {', '.join(self.after)}"
        return f"{self.name}: {', '.join(self.before) or 'nobody'} -> {', '.join(self.after)}"


class RoleLog:
    """The file.

    Args:
        file: made with the first change, readable by its owner alone.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold everybody else who changes roles off until the block ends."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def append(self, change: RoleChange) -> None:
        """Add a change at the end of the chain; on disk when this returns. Raises FlywheelError when the file is damaged."""
        previous = self._lines()
        values = dict(zip(_FIELDS, change, strict=True))
        line = {**values, "previous": previous[-1]["sha256"] if previous else ""}
        text = canonical_json({**line, "sha256": sha256_of(line)})
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def changes(self) -> list[RoleChange]:
        """All changes, oldest first; raises FlywheelError at the first line that was changed after it was written."""
        lines = self._lines()
        return [
            RoleChange(one["at"], one["by"], one["name"], tuple(one["before"]), tuple(one["after"]), one["new_password"], one["reason"])
            for one in lines
        ]  # fmt: skip

    def _lines(self) -> list[dict]:
        text = self._file.read_text(encoding="utf-8") if self._file.is_file() else ""
        found: list[dict] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                value = json.loads(line)
                digest = value.pop("sha256")
                whole = digest == sha256_of(value) and value["previous"] == (found[-1]["sha256"] if found else "")
                whole = whole and set(_FIELDS) < set(value)
            except (ValueError, KeyError, AttributeError, TypeError):
                whole, value, digest = False, {}, ""
            if not whole:
                raise FlywheelError("the log of role changes was changed after it was written", where=f"{self._file}:{number}",
                                    remedy="restore it from a backup; find out who changed it")  # fmt: skip
            found.append({**value, "sha256": digest})
        return found


def roles_after(changes: Sequence[RoleChange]) -> dict[str, tuple[str, ...]]:
    """What the log says everybody's roles are now."""
    known: dict[str, tuple[str, ...]] = {}
    for change in changes:
        known.pop(change.name, None)
        if change.after:
            known[change.name] = change.after
    return known
