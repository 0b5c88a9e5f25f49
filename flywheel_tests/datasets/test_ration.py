"""The budget's places: what a source reserves, it can fill."""

import pytest

from flywheel.datasets.mix import Mix, select
from flywheel.workflows.pack import Datasets
from flywheel_tests.datasets.samples import WEEKS
from flywheel_tests.datasets.test_account import frame


def steps(source: str, count: int, tool: str | None) -> list[dict]:
    """Candidates of one source that differ in everything."""
    names = [f"{source} {tool} {number}" for number in range(count)]
    alike = ("row_id", "context_id", "shape_id", "near_duplicate_group", "template_id", "source_id")
    return [
        {**dict.fromkeys(alike, name), "source": source, "week": WEEKS[0], "answer_id": "a", "kept_out": "", "detail": "",
         "remedy": "steps", "tool": tool, "failure_cluster": "c", "message_index": 2}
        for name in names
    ]  # fmt: skip


def mixed(*rows: dict) -> Mix:
    return select(frame(list(rows)), lambda chosen: [], Datasets(row_budget=400, replay=0.1), week=WEEKS[0])


@pytest.mark.parametrize("corrected", [600, 60])
def test_verified_steps_of_a_corrected_tool_take_no_place_from_anybody(corrected: int):
    others = [*steps("correction", corrected, "t"), *steps("replay", 100, None)]
    without, named = mixed(*others), mixed(*others, *steps("verified", 600, "t"))
    assert named.counts == without.counts | {"verified": [600, 0]}
    assert named.reasons()["tool_is_corrected"] == 600


def test_verified_steps_of_other_tools_and_replies_have_their_share():
    mix = mixed(*steps("correction", 100, "t"), *steps("verified", 70, "t"), *steps("verified", 60, "u"),
                *steps("verified", 60, None))  # fmt: skip
    assert mix.counts["verified"] == [190, 100], "as many as there are corrected rows"
    assert mix.reasons() == {"share_verified": 20, "tool_is_corrected": 70}
