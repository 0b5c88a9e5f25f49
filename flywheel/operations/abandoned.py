"""Runs of this installation whose process was killed: ended and their pool slots freed, before the next run waits for them for ever.

A daemon sees dead workers of its own; of `flywheel run` only the process itself knows. So while it works it holds a lock on a file
beside the instance's storage, named by the run. A file that nobody holds is of a process that is gone. Runs of other machines on the same
storage have no file here and are left alone.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

_KILLED = "The process of this run was killed. Run the same command again: what the run committed stands."


@contextmanager
def at_work(on: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Say that this process works on a run, for as long as the block or the process lasts."""
    file = _folder(on) / run_id
    # Locked under another name first: whoever finds the file finds it locked.
    made = file.with_name(f".{run_id}.{os.getpid()}")
    with made.open("w", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        made.replace(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def end_abandoned(on: dg.DagsterInstance) -> list[str]:
    """Mark runs failed whose process is gone, and free their slots; returns their ids."""
    ended = []
    for file in sorted(_folder(on).glob("[!.]*")):
        with _nobodys(file) as is_free:
            if not is_free:
                continue
            run = on.get_run_by_id(file.name)
            if run is not None and not run.is_finished:
                on.report_run_failed(run, _KILLED)
                ended.append(file.name)
            on.event_log_storage.free_concurrency_slots_for_run(file.name)
            file.unlink(missing_ok=True)
    return ended


@contextmanager
def _nobodys(file: Path) -> Iterator[bool]:
    """Whether no process holds the file; it is ours within the block then."""
    try:
        opened = file.open("r+", encoding="utf-8")
    except FileNotFoundError:  # its process ended it a moment ago
        yield False
        return
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except BlockingIOError:
            is_free = False
        yield is_free


def _folder(on: dg.DagsterInstance) -> Path:
    folder = Path(on.root_directory).absolute() / "at_work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
