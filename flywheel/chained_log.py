"""An append-only file of JSON lines, each of which holds the hash of the one before: what was written cannot be bent unseen.

Cutting lines off its end shows nowhere in the file; docs/security.md says what to do about that.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of


class ChainedLog:
    """The file.

    Args:
        file: made with the first line, readable by its owner alone.
        fields: what every line holds.
        what: what it is a log of, for the error of a damaged one.
    """

    def __init__(self, file: Path, fields: Sequence[str], what: str) -> None:
        self._file, self._fields, self._what = file, tuple(fields), what

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold everybody else who writes into it off until the block ends."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line at the end of the chain, inside `alone`; on disk when this returns. Raises FlywheelError when the file is damaged."""
        previous = self.lines()
        line = {**{name: values[name] for name in self._fields}, "previous": previous[-1]["sha256"] if previous else ""}
        text = canonical_json({**line, "sha256": sha256_of(line)})
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> list[dict[str, Any]]:
        """All lines, oldest first, each with its `sha256`; raises FlywheelError at the first that was changed after it was written."""
        text = self._file.read_text(encoding="utf-8") if self._file.is_file() else ""
        found: list[dict[str, Any]] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                value = json.loads(line)
                digest = value.pop("sha256")
                whole = digest == sha256_of(value) and value["previous"] == (found[-1]["sha256"] if found else "")
                whole = whole and set(self._fields) < set(value)
            except (ValueError, KeyError, AttributeError, TypeError):
                whole, value, digest = False, {}, ""
            if not whole:
                raise FlywheelError(f"the log of {self._what} was changed after it was written", where=f"{self._file}:{number}",
                                    remedy="restore it from a backup; find out who changed it")  # fmt: skip
            found.append({**value, "sha256": digest})
        return found
