"""A week whose traffic lies in the inbox, and the hashes of its `collect` when nobody disturbs it."""

import pytest

from flywheel_tests.faults.house import House

WEEK = "2026-01-05"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> House:
    house = House.build(tmp_path_factory.mktemp("fresh") / "house")
    for step in ("freeze", "traffic"):
        house.run(step, week=WEEK)
    return house


@pytest.fixture(scope="module")
def undisturbed(fresh: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    house = fresh.copy(tmp_path_factory.mktemp("undisturbed") / "house")
    house.run("collect", week=WEEK)
    return house.hashes()
