"""Whatever a model writes into a call, the simulator answers and the run goes on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.workflows.environment import run_calls
from flywheel.workflows.pack import Pack

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["A10001", "other"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"id": "c", "function": {"name": name, "arguments": arguments}}]}


@given(draw=st.data())
def test_the_shops_tools_answer_any_arguments_that_have_the_right_names(draw: st.DataObject, pack: Pack):
    tool = draw.draw(st.sampled_from(pack.tools))["function"]
    arguments = {name: draw.draw(VALUES) for name in tool["parameters"]["properties"]}
    world = pack.environment(1, {"orders": {"A10001": {"email": "a@b.c", "status": "delivered", "amount": 3, "tracking_number": "Q", "place": "x"}}})  # fmt: skip
    (answer,) = run_calls(world, _call(tool["name"], json.dumps(arguments)))
    assert "TOOL_FAILED" not in answer["content"] and isinstance(json.loads(answer["content"]), dict)


def test_a_page_that_is_no_number_is_a_tool_error(pack: Pack):
    world = pack.environment(1)
    (answer,) = run_calls(world, _call("list_orders", json.dumps({"email": "a@b.c", "page": "other"})))
    assert json.loads(answer["content"])["error"] == "INVALID_ARGUMENTS"


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("odd"), RecursionError()])
def test_a_simulator_that_raises_is_a_failed_tool_and_no_failed_run(error: Exception):
    class Broken:
        def call(self, name: str, arguments: dict[str, Any]) -> str:
            raise error

        def state(self) -> dict[str, Any]:
            return {}

    (answer,) = run_calls(Broken(), _call("any", "{}"))
    assert json.loads(answer["content"]) == {"error": "TOOL_FAILED", "message": f"{type(error).__name__}: {error}"}
