"""Two runs of one partition at once, and a clock that goes backwards: the tables are those of one run."""

import shutil
from pathlib import Path

import pytest

from flywheel_tests.faults.house import House

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
WEEK = "2026-01-05"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House.build(tmp_path_factory.mktemp("answered") / "house")
    for step in ("freeze", "traffic", "collect", "answers"):
        house.run(step, week=WEEK)
    return house


@pytest.fixture(scope="module")
def undisturbed(answered: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    house = answered.copy(tmp_path_factory.mktemp("undisturbed") / "house")
    house.run("learn", week=WEEK)
    return house.hashes()


def test_two_runs_of_one_week_at_once_leave_one_week(answered: House, undisturbed: dict[str, str], tmp_path: Path):
    house = answered.copy(tmp_path / "house")
    both = [house.start("learn", week=WEEK) for _ in range(2)]
    codes = [process.wait(timeout=600) for process in both]
    assert 0 in codes, house.told()
    house.run("learn", week=WEEK)  # whatever one of them met, the next run ends well
    assert house.hashes() == undisturbed
    assert house.lake().read_weeks("promotion_log", workflow="door").height == 1, "one decision moved the pointer once"


def test_a_clock_that_goes_backwards_doubles_and_loses_nothing(
    answered: House, undisturbed: dict[str, str], tmp_path: Path
):
    found = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if found is None or shutil.which("faketime") is None:
        pytest.skip("libfaketime is not installed: apt-get install faketime")
    house = answered.copy(tmp_path / "house")
    yesterday = {"LD_PRELOAD": str(found), "FAKETIME": "-36h"}
    for step in ("corrected_traces", "sft_dataset"):
        house.run(step, week=WEEK)
    house.run("learn", week=WEEK, **yesterday)
    house.run("learn", week=WEEK)
    assert house.hashes() == undisturbed
