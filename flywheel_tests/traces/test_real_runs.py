"""The 200 real airline runs: all are read, none is lost."""

import json
from pathlib import Path

import pytest

from flywheel.failures.triage import triage
from flywheel.lake import Lake
from flywheel_tests.traces.test_inbox import WEEK, account, read

DATA = Path(__file__).parents[3] / "shared" / "data" / "tau-airline"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    if not DATA.is_dir():
        pytest.skip("the real runs (../shared/data/tau-airline) are not here")
    tools = [{**tool, "x-access": "read_only"} for tool in json.loads((DATA / "tools.json").read_text())]
    folder = tmp_path / "in"
    folder.mkdir()
    with (folder / "runs.jsonl").open("w") as file:
        for run in json.loads((DATA / "trajectories.json").read_text()):
            name = f"{run['task_id']}-{run['trial']}"
            file.write(json.dumps({"id": name, "client_id": "tau", "tools": tools, "messages": run["traj"],
                                   "outcome": "success" if run["reward"] else "failure"}) + "\n")  # fmt: skip
    return folder


def test_all_are_accepted_and_every_failed_one_is_found_when_rewards_are_visible(inbox: Path, lake: Lake):
    reading = read(inbox, lake)
    assert account(reading) == (200, 200, 0, 0)
    failed = [row for row in reading.traces[WEEK] if row["outcome_status"] == "failure"]
    assert len(failed) == 116
    assert all(triage(row) for row in failed)
