"""Files into a workflow's inbox, each whole or not at all."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel.traces.records import SUFFIXES


def lay_into_inbox(settings: Settings, workflow: str, files: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """Copy files (name in the inbox -> where they lie) and give name and size in bytes of each; raises FlywheelError for one that
    is missing or of a kind that no inbox takes."""
    inbox = settings.inbox(workflow)
    inbox.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        if not file.is_file():
            raise FlywheelError("there is no such file", where=str(file), remedy="name files that exist")
        if not name.endswith(SUFFIXES):
            raise FlywheelError(
                f"the inbox takes {', '.join(SUFFIXES)}",
                where=str(file),
                remedy="name the file after what it holds, e.g. .jsonl",
            )
        target = inbox / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        shutil.copyfile(file, partial)
        partial.replace(target)
        yield name, file.stat().st_size
