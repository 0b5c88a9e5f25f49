"""Week zero in the stages: no batch, no corrections, and demonstrations that count as corrections do."""

from pathlib import Path

import dagster as dg
import pytest

from flywheel.defs.corrections import corrected_traces
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage
from flywheel.defs.week_zero import demonstrations_of_week_zero
from flywheel.lake import TABLES
from flywheel.lake.week_zero import is_week_zero
from flywheel.operations.status import status
from flywheel.partitions import partition_key
from flywheel.training.learn_when import Pending, why_banked
from flywheel.workflows.learn_settings import LearnWhen
from flywheel_tests.conftest import HOME

ZERO, LATER = "2026-01-05", "2026-01-12"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The door pack's house, whose week zero was begun with three demonstrations."""
    (tmp_path / "workflows").symlink_to(HOME / "workflows")
    found = House(home=str(tmp_path))
    cell = {"week_zero": ZERO, "category": "refusal", "tool": "", "target": 3, "counted": 3, "waiting": 0, "refused": 0}
    found.lake().replace_partition("week_zero", [cell], workflow="door")
    empty = dict.fromkeys(name for name in TABLES["demonstrations"].polars_schema() if name != "workflow")
    found.lake().replace_partition(
        "demonstrations", [{**empty, "demonstration_id": str(n)} for n in range(3)], workflow="door"
    )
    return found


def begun(house: House, week: str) -> Stage:
    return Stage.begin(dg.build_asset_context(partition_key=partition_key(week, "door")), house, "checkpoint", "2")


def test_week_zero_has_no_corrections_and_its_demonstrations_are_an_input(house: House):
    for unchanged in (False, True):
        made = corrected_traces(dg.build_asset_context(partition_key=partition_key(ZERO, "door")), house)
        assert isinstance(made, dg.MaterializeResult) and (made.metadata or {})["unchanged"] is unchanged
    assert not house.lake().read_partition("corrected_traces", workflow="door", week=ZERO).height
    (entry,) = status(house.settings())
    assert entry["next"] == f"flywheel run --workflow door --week {ZERO} --stage learn", "and not to collect it"
    zero, later = begun(house, ZERO), begun(house, LATER)
    assert (
        is_week_zero(house.lake(), "door", ZERO)
        and demonstrations_of_week_zero(zero) == 3
        and "demonstrations/-" in zero.contents
    )
    assert (
        not is_week_zero(house.lake(), "door", LATER)
        and demonstrations_of_week_zero(later) is None
        and not later.contents
    )
    with pytest.raises(dg.Failure, match="correction_batch"):
        corrected_traces(dg.build_asset_context(partition_key=partition_key(LATER, "door")), house)
    house.lake().replace_partition("correction_batch", [], workflow="door", week=ZERO)
    assert not is_week_zero(house.lake(), "door", ZERO), "a week with a batch waits for its people"


def test_the_demonstrations_of_week_zero_count_as_corrections_do():
    rule = LearnWhen(min_accepted=2)
    assert why_banked(Pending(ZERO, 0, shown=5), 10, rule) is None
    assert "week zero has 1 demonstrations, learn_when asks for 2" in str(
        why_banked(Pending(ZERO, 0, shown=1), 10, rule)
    )
    assert "0 accepted corrections" in str(why_banked(Pending(ZERO, 0), 10, rule))
    assert "is empty" in str(why_banked(Pending(ZERO, 0, shown=5), 0, rule))
