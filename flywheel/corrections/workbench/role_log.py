"""Who was given which roles, by whom and why: an append-only file beside the users file, a hash-chained JSON line a change.

A change is written here before the users file changes, so that no role exists that nobody recorded. Passwords never stand here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flywheel.chained_log import ChainedLog

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
        self._log = ChainedLog(file, _FIELDS, "role changes")
        self.alone = self._log.alone

    def append(self, change: RoleChange) -> None:
        """Add a change at the end of the chain; on disk when this returns. Raises FlywheelError when the file is damaged."""
        self._log.append(dict(zip(_FIELDS, change, strict=True)))

    def changes(self) -> list[RoleChange]:
        """All changes, oldest first; raises FlywheelError at the first line that was changed after it was written."""
        return [
            RoleChange(one["at"], one["by"], one["name"], tuple(one["before"]), tuple(one["after"]), one["new_password"], one["reason"])
            for one in self._log.lines()
        ]  # fmt: skip


def roles_after(changes: Sequence[RoleChange]) -> dict[str, tuple[str, ...]]:
    """What the log says everybody's roles are now."""
    known: dict[str, tuple[str, ...]] = {}
    for change in changes:
        known.pop(change.name, None)
        if change.after:
            known[change.name] = change.after
    return known
