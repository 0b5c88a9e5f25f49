"""The terminal of a long command: one line a finished stage, one moving line for what is going on.

Runs capture standard output, so the screen writes to a duplicate of the terminal's descriptor, and everything else a run
prints goes to a log file that the screen names when something fails.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from flywheel.chat.visible import visible
from flywheel.progress import VARIABLE, read_progress

_PLAIN_EVERY_SECONDS = 20.0


def foreign(text: str) -> str:
    """Text from runs and tools for `Screen.say`: no markup of rich's in it, and nothing hidden."""
    return escape(visible(text))


class Screen:
    """Where a command shows what it does.

    Args:
        log: file that takes what runs and children print.
    """

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.console = Console(file=os.fdopen(os.dup(2), "w", buffering=1), highlight=False)
        self._progress_file = log.with_suffix(".progress")

    def say(self, text: str) -> None:
        """Print one line in rich's markup; what others wrote goes through `foreign` before."""
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def working(self, what: str, poll: Callable[[], None] | None = None) -> Iterator[None]:
        """Show that `what` is going on, with the newest progress; `poll` is called about twice a second."""
        self._progress_file.unlink(missing_ok=True)
        os.environ[VARIABLE] = str(self._progress_file.absolute())
        stop = threading.Event()
        thread = threading.Thread(target=self._show, args=(what, stop, poll), daemon=True)
        with _captured(self.log):
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join(timeout=5)
                os.environ.pop(VARIABLE, None)
                if poll:
                    poll()

    def _show(self, what: str, stop: threading.Event, poll: Callable[[], None] | None) -> None:
        started = last_plain = time.monotonic()
        status = Status(what, console=self.console) if self.console.is_terminal else None
        if status:
            status.start()
        while not stop.wait(0.4):
            if poll:
                poll()
            text = foreign(f"{what} · {self._doing(time.monotonic() - started)}")
            if status:
                status.update(text)
            elif time.monotonic() - last_plain > _PLAIN_EVERY_SECONDS:
                last_plain = time.monotonic()
                self.say(f"  … {text}")
        if status:
            status.stop()

    def _doing(self, elapsed: float) -> str:
        now = read_progress(self._progress_file)
        clock = f"{int(elapsed) // 60}:{int(elapsed) % 60:02d}"
        if now is None:
            return clock
        counted = f"{now.done}/{now.total} " if now.total else ""
        return f"{now.what}: {counted}{now.note} · {clock}"


@contextmanager
def _captured(log: Path) -> Iterator[None]:
    """Send file descriptors 1 and 2 to the log; children inherit them."""
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as target:
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
