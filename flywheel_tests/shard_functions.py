"""What the tests of shards have done by workers: functions that a fresh process imports quickly."""

import os
import signal
import time
from pathlib import Path

from flywheel.errors import FlywheelError


def squared(offset: int, number: int) -> tuple[int, int, str | None]:
    time.sleep(0.02 * (number % 2))  # so that results are ready out of order
    return number * number + offset, os.getpid(), os.environ.get("POLARS_MAX_THREADS")


def refuses(number: int) -> int:
    if number:
        raise FlywheelError("the shard is broken", where=f"shard {number}", remedy="mend it")
    return number


def dies(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def shows(folder: Path, number: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)
