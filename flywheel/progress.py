"""Where a long stage is: written by whoever works, shown by whoever waits.

A child cannot draw on the terminal of the command that started the run: Dagster captures its output. So it replaces a
small file named by FLYWHEEL_PROGRESS, and the command line reads it. Without that variable, progress is printed.
"""

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

VARIABLE = "FLYWHEEL_PROGRESS"


class Progress(NamedTuple):
    """One reading: what is being done, a note, and how far it is."""

    what: str
    note: str
    done: int
    total: int


def report_progress(what: str, note: str, done: int, total: int) -> None:
    """Say how far a stage is; cheap enough to call at every step."""
    target = os.environ.get(VARIABLE)
    if not target:
        print(f"{what}: {done}/{total} {note}", file=sys.stderr, flush=True)
        return
    file = Path(target)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps([what, note, done, total]), encoding="utf-8")
    temporary.replace(file)


def read_progress(file: Path) -> Progress | None:
    """The newest reading, or None before the first."""
    try:
        return Progress(*json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
