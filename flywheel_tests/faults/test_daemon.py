"""Kills in a deployment: the run's worker, the daemon, the webserver with its code server. Queued weeks end as if nothing had been."""

import os
import signal
import time
from pathlib import Path

import pytest

from flywheel_tests.faults.house import House
from flywheel_tests.stand_ins.deployment import Deployment, partition_tags

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
WEEK = "2026-01-05"


def test_a_killed_worker_is_noticed_frees_its_slots_and_the_week_ends(
    fresh: House, undisturbed: dict[str, str], tmp_path: Path
):
    with Deployment(fresh.copy(tmp_path / "house")) as on:
        first = on.launch("collect", partition_tags(WEEK, "door"))
        _until_started(on, first)
        for worker in _workers(on.house):
            os.kill(worker, signal.SIGKILL)
        assert on.wait([first], 300)[first] == "FAILURE"
        second = on.launch("collect", partition_tags(WEEK, "door"))
        # run_retries may have queued one of its own; either way the week is whole once no run is left.
        assert on.wait([second], 300)[second] == "SUCCESS"
        assert _claimed_slots(on) == 0
    assert on.house.hashes() == undisturbed


def test_a_killed_daemon_loses_no_queued_run(fresh: House, undisturbed: dict[str, str], tmp_path: Path):
    with Deployment(fresh.copy(tmp_path / "house")) as on:
        on.stop("daemon", signal.SIGKILL)
        queued = on.launch("collect", partition_tags(WEEK, "door"))
        time.sleep(3)
        assert on.status(queued) == "QUEUED"
        on.start("daemon")
        _until_started(on, queued)
        on.stop(
            "daemon", signal.SIGKILL
        )  # the worker is not its child's child to lose: it goes on or is seen as failed
        on.start("daemon")
        if on.wait([queued], 300)[queued] == "FAILURE":
            again = on.launch("collect", partition_tags(WEEK, "door"))
            assert on.wait([again], 300)[again] == "SUCCESS"
        assert _claimed_slots(on) == 0
    assert on.house.hashes() == undisturbed


def test_a_killed_webserver_takes_no_run_with_it(fresh: House, undisturbed: dict[str, str], tmp_path: Path):
    with Deployment(fresh.copy(tmp_path / "house")) as on:
        run = on.launch("collect", partition_tags(WEEK, "door"))
        _until_started(on, run)
        on.stop("webserver", signal.SIGKILL)
        on.start("webserver")
        on.wait_for_webserver()
        assert on.wait([run], 300)[run] == "SUCCESS"
    assert on.house.hashes() == undisturbed


def _until_started(on: Deployment, run: str) -> None:
    deadline = time.monotonic() + 180
    while on.status(run) not in ("STARTED", "SUCCESS"):
        assert time.monotonic() < deadline, on.status(run)
        time.sleep(0.1)


def _workers(house: House) -> list[int]:
    """Processes in which the code server executes runs."""
    found = []
    for process in house.processes():
        words = Path(f"/proc/{process}/cmdline").read_bytes()
        if b"multiprocessing" in words and b"spawn_main" in words:
            found.append(process)
    assert found, "no worker to kill"
    return found


def _claimed_slots(on: Deployment) -> int:
    """Slots that the pools hold, when nothing runs."""
    time.sleep(1)
    found = on.ask("{ instance { concurrencyLimits { concurrencyKey claimedSlots { runId } } } }")
    return sum(len(pool["claimedSlots"]) for pool in found["instance"]["concurrencyLimits"])
