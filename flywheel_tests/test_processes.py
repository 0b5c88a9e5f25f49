"""Children: the whole group ends, also when the one who started it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flywheel.processes import start_group, stop_group

# A child with a grandchild, both of which write their process id and then sleep.
FAMILY = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); print(p.pid, flush=True); time.sleep(300)"


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not lives(pid)


def grandchild(log: Path) -> int:
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(log.read_text().split()[0])


def test_stopping_a_group_ends_grandchildren_and_can_be_done_twice(tmp_path: Path):
    process = start_group([sys.executable, "-c", FAMILY], environment=os.environ, log=tmp_path / "log")
    pid = grandchild(tmp_path / "log")
    stop_group(process)
    stop_group(process)
    assert gone(pid) and process.returncode is not None


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(300)"
    )
    process = start_group([sys.executable, "-c", stubborn], environment=os.environ, log=tmp_path / "log")
    grandchild(tmp_path / "log")
    stop_group(process, grace_seconds=0.5)
    assert process.returncode == -signal.SIGKILL


def test_killing_the_parent_with_9_takes_the_whole_family_along(tmp_path: Path):
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'flywheel.processes', '--', sys.executable, '-c', {FAMILY!r}])"
    log = tmp_path / "log"
    with log.open("w") as output, subprocess.Popen([sys.executable, "-c", launcher], stdout=output) as parent:
        pid = grandchild(log)
        parent.kill()
    assert gone(pid)


def test_the_launcher_hands_on_the_exit_code():
    ended = subprocess.run(
        [sys.executable, "-m", "flywheel.processes", "--", sys.executable, "-c", "raise SystemExit(7)"], check=False
    )
    assert ended.returncode == 7
