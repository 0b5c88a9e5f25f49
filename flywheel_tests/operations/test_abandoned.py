"""A killed run must not hold the next one up: its slot is freed, and it stands as failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from flywheel.operations.abandoned import at_work, end_abandoned

POOLS = "telemetry: {enabled: false}\nconcurrency: {pools: {default_limit: 1}}\n"
RUN_ID = "11111111-2222-4333-8444-555555555555"
# One stage that needs the pool, and that never ends while `wait` is there.
STAGE = """
import sys, time
from pathlib import Path
import dagster as dg
from flywheel.operations.abandoned import at_work
home, run_id = Path(sys.argv[1]), sys.argv[2]

@dg.asset(pool="accelerator")
def checkpoint():
    (home / "began").touch()
    while (home / "wait").exists():
        time.sleep(0.05)

job = dg.Definitions([checkpoint], jobs=[dg.define_asset_job("learn")]).resolve_job_def("learn")
with dg.DagsterInstance.from_config(str(home)) as on, at_work(on, run_id):
    sys.exit(not job.execute_in_process(instance=on, run_id=run_id).success)
"""


def start(home: Path, run_id: str) -> subprocess.Popen[bytes]:
    log = (home / "log").open("ab")
    command = [sys.executable, "-c", STAGE, str(home), run_id]
    return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "DAGSTER_HOME": str(home)})


def slots(on: dg.DagsterInstance) -> int:
    return on.event_log_storage.get_concurrency_info("accelerator").active_slot_count


@pytest.mark.timeout(120)
def test_a_killed_run_is_ended_and_the_next_one_gets_its_slot(tmp_path: Path):
    (tmp_path / "dagster.yaml").write_text(POOLS)
    (tmp_path / "wait").touch()
    killed = start(tmp_path, RUN_ID)
    while not (tmp_path / "began").exists():
        assert killed.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    with dg.DagsterInstance.from_config(str(tmp_path)) as on:
        assert end_abandoned(on) == [] and slots(on) == 1, "a run that is at work is left alone"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        (tmp_path / "wait").unlink()
        assert slots(on) == 1, "or there was nothing to free"
        assert end_abandoned(on) == [RUN_ID] and slots(on) == 0
        run = on.get_run_by_id(RUN_ID)
        assert run is not None and run.status is dg.DagsterRunStatus.FAILURE
        assert end_abandoned(on) == []
        assert start(tmp_path, RUN_ID.replace("1", "9")).wait(timeout=60) == 0, (tmp_path / "log").read_text()
        assert slots(on) == 0 and not list((tmp_path / "at_work").iterdir())


def test_a_file_of_a_run_that_never_came_to_be_is_swept(tmp_path: Path):
    (tmp_path / "dagster.yaml").write_text(POOLS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as on:
        with pytest.raises(KeyError), at_work(on, RUN_ID):
            assert end_abandoned(on) == []
            raise KeyError
        (Path(on.root_directory) / "at_work" / RUN_ID).touch()
        assert end_abandoned(on) == [] and not list((tmp_path / "at_work").iterdir())
