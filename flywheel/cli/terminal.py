"""What a command prints, made harmless for a terminal: runs, tools and packs name things, and an escape sequence in a name is a command.

Everything a command writes to standard output and error goes through here; a character that cannot be seen is spelled out (\\u001b). What
rich draws goes around it (`drawing`), with its texts spelled out before.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from flywheel.chat.visible import visible


class _Visible:
    """A text stream that spells out what cannot be seen; new lines and tabs stay."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(text if text.isprintable() else "\t".join(map(visible, text.split("\t"))))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def drawing() -> TextIO:
    """Standard output for what draws with control sequences of its own, and spells out foreign text by itself."""
    now: Any = sys.stdout
    return now.stream if isinstance(now, _Visible) else now


@contextmanager
def _spelled_out() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Visible(sys.stdout), _Visible(sys.stderr)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def guard(command: Any) -> Any:
    """A click command whose function, and those of all commands below it, print through this module; help stays as it is drawn."""
    for below in getattr(command, "commands", {}).values():
        guard(below)
    function = command.callback
    if function is not None and not getattr(command, "commands", None):
        command.callback = _guarded(function)
    return command


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> Any:
        with _spelled_out():
            return function(*arguments, **options)

    return run
