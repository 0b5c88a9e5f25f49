"""One at a time: backup, prune and erasure take away files, or need them to stay, so they exclude each other in one house."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@contextmanager
def alone(settings: Settings, what: str) -> Iterator[None]:
    """Hold the house's maintenance lock; raises FlywheelError when somebody else holds it. A killed process lets go of it by itself.

    Stages need no lock: what they write is new, and what they read is kept for days (docs/operations.md).
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / "maintenance.lock"
    with file.open("a+", encoding="utf-8") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            opened.seek(0)
            raise FlywheelError(f"{opened.read().strip() or 'another command'} is running, and {what} would disturb it",
                                where=str(file), remedy="wait until it has ended, then run this again") from None  # fmt: skip
        opened.truncate(0)
        opened.write(what)
        opened.flush()
        yield
