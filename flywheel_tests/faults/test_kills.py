"""kill -9 at random moments of every stage: run again, the tables are those of an undisturbed run, and nobody is left behind."""

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from flywheel_tests.faults.house import House, kill_within

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
WEEK = "2026-01-05"
STEPS = (
    "production_traces", "production_failures", "correction_batch", "answers", "corrected_traces", "sft_dataset", "prequential_results", "checkpoint",
    "eval_results", "promotion", "weekly_report",
)  # fmt: skip
# The simulated experts draw their mistakes in one row: a kill would make them other people. The store is killed in test_store.py.
KILLED = [step for step in STEPS if step != "answers"]
EACH = int(os.environ.get("FLYWHEEL_FAULTS_KILLS", "12"))


class Undisturbed:
    """A week turned step by step: the house before each step, the seconds each took, the hashes after it."""

    def __init__(self, folder: Path) -> None:
        house = House.build(folder / "now")
        house.run("freeze", week=WEEK)
        house.run("traffic", week=WEEK)
        self.before: dict[str, House] = {}
        self.seconds: dict[str, float] = {}
        self.after: dict[str, dict[str, str]] = {}
        for step in STEPS:
            self.before[step] = house.copy(folder / f"before-{step}")
            self.seconds[step] = house.run(step, week=WEEK)
            self.after[step] = house.hashes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_the_stand_in_week_decides_something(undisturbed: Undisturbed):
    decision = (
        House(undisturbed.before["weekly_report"].home).lake().read_partition("promotion", workflow="door", week=WEEK)
    )
    assert decision["verdict"].to_list() == ["PROMOTE"], decision["reasons"].to_list()


@pytest.mark.parametrize("step", KILLED)
def test_a_stage_killed_at_any_moment_and_run_again_gives_the_same_tables(
    undisturbed: Undisturbed, step: str, tmp_path: Path
):
    rng, victims, missed = random.Random(f"{step}|{os.environ.get('FLYWHEEL_FAULTS_SEED', '1')}"), Counter(), 0
    while sum(victims.values()) < EACH:
        house = undisturbed.before[step].copy(tmp_path / "house")
        kill = kill_within(house, house.start(step, week=WEEK), undisturbed.seconds[step] * 0.95, rng)
        assert not (left := house.orphans()), f"{kill}: {left}"
        if not kill.hit:
            missed += 1
            assert missed < 5 * EACH, "the step ends before it can be killed"
            continue
        house.run(step, week=WEEK)
        assert house.hashes() == undisturbed.after[step], f"{kill}\n{house.told()}"
        victims[kill.victim] += 1
    told = {"step": step, "kills": EACH, "recovered": EACH, "missed": missed, "victims": dict(victims)}
    if where := os.environ.get("FLYWHEEL_FAULTS_TABLE"):
        with Path(where).open("a", encoding="utf-8") as table:
            table.write(json.dumps(told) + "\n")
