"""Children in their own process group: started, watched, and never left behind.

`python -m flywheel.processes -- COMMAND...` is the launcher that stands between Dagster Pipes and a heavy child: Dagster
signals its direct child only, so grandchildren (data loaders, vLLM's engine) would outlive a cancelled run and keep
the memory. The launcher starts the command in a new session, hands signals on, kills the whole group at the end, and
dies with its parent even when the parent is killed with -9.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 10.0


def die_with_parent() -> None:
    """Ask Linux to send this process SIGTERM when its parent ends, however it ends; does nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def child_command(module: str, *arguments: str, python: Path | None = None) -> list[str]:
    """Command of a heavy child, `python -m MODULE ARGUMENT...`, with the launcher of this file before it.

    Args:
        python: another interpreter for the child alone; ours by default.
    """
    return [sys.executable, "-m", "flywheel.processes", "--", str(python or sys.executable), "-m", module, *arguments]


def start_group(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in a new session (its own process group); output goes to `log`, or to ours without one."""
    if log is None:
        return subprocess.Popen(list(command), env=dict(environment), start_new_session=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command), env=dict(environment), start_new_session=True, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def stop_group(process: subprocess.Popen[bytes], *, grace_seconds: float = GRACE_SECONDS) -> None:
    """End a group: SIGTERM, wait, then SIGKILL for whoever is left; safe to call twice."""
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=grace_seconds)
    except subprocess.TimeoutExpired:
        pass
    deadline = time.monotonic() + 2.0
    while _group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def launch(command: Sequence[str]) -> int:
    """Run `command` in its own group to its end; its exit code, or 128 + signal when one ended it."""
    die_with_parent()
    process = start_group(command, environment=os.environ)

    def hand_on(number: int, frame: FrameType | None) -> None:
        del frame
        _signal_group(process.pid, signal.Signals(number))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)
    try:
        code = process.wait()
    finally:
        stop_group(process)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        sys.exit("usage: python -m flywheel.processes -- COMMAND [ARGUMENT ...]")
    sys.exit(launch(sys.argv[2:]))
