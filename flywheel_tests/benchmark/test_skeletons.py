"""Skeletons of cases from a tool's schema: sound once a person wrote the words."""

import pytest

from flywheel.benchmark.cases import REQUIRED_CATEGORIES, load_cases
from flywheel.benchmark.drafts import move_ready, write_draft
from flywheel.benchmark.skeletons import skeleton
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.benchmark.test_drafts import finish


@pytest.mark.parametrize("category", REQUIRED_CATEGORIES)
@pytest.mark.parametrize("tool", [None, "get_order"])
def test_a_skeleton_is_sound_once_its_words_are_written(mine: Pack, category, tool):
    file = write_draft(mine, skeleton(mine, category, "mine", tool), "x")
    file.write_text(file.read_text().replace("ready: false", "ready: true"))
    with pytest.raises(FlywheelError, match="EDIT"):
        move_ready(mine)
    order = '{"orders": {"order_id-1": {"email": "e", "status": "processing", "amount": 1, "tracking_number": "t", "place": "p", "address": {}}}}'
    finish(file, **{'"overrides": {}': f'"overrides": {order}'})
    (case,) = move_ready(mine).cases
    assert case.category == category and not file.exists()
    assert len(load_cases(mine.folder / "benchmark", mine.tools)) == 3


def test_unknown_tools_and_schemas_without_an_example_say_so(mine: Pack):
    with pytest.raises(FlywheelError, match="no tool 'fly'"):
        skeleton(mine, "tool_calling", "x", "fly")
    strange = {
        "name": "odd",
        "parameters": {"type": "object", "properties": {"a": {"pattern": "^Z$"}}, "required": ["a"]},
    }
    odd = Pack(**{**vars(mine), "tools": [{"type": "function", "function": strange, "x-access": "write"}]})
    with pytest.raises(FlywheelError, match="no example call") as caught:
        skeleton(odd, "tool_calling", "x", "odd")
    assert "examples" in caught.value.remedy
