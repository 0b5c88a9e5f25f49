"""Tools from logs: the union of what was offered, or a schema that accepts all that was called."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.operations.pack_draft.evidence import Evidence
from flywheel.operations.pack_draft.tools import draft_tools, schema_of
from flywheel.toolcalls.schema_check import check_arguments, schema_problem
from flywheel_tests.operations.pack_draft.logs import run, sampled, tool

DATA = Path(__file__).parents[4] / "shared" / "data" / "tau-airline"
_leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
_values = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
                       max_leaves=8)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.text("abcd", min_size=1, max_size=2), _values, max_size=4), min_size=1, max_size=8))
def test_a_guessed_schema_accepts_every_call_it_was_guessed_from(objects: list[dict[str, Any]]):
    guessed = tool("t", schema_of(objects))
    assert schema_problem(guessed["function"]["parameters"]) is None
    assert [check_arguments(guessed, json.dumps(value)) for value in objects] == [[]] * len(objects)


def test_what_was_always_there_is_required_once_there_are_five_calls():
    calls = [{"a": 1, "b": "x"} if n else {"a": 2.5} for n in range(5)]
    assert schema_of(calls)["required"] == ["a"] and "required" not in schema_of(calls[:4])
    assert schema_of([{"n": n} for n in range(20)])["properties"] == {"n": {"type": "integer"}}
    assert schema_of(calls)["properties"] == {"a": {"type": "number"}, "b": {"type": "string"}}


def test_runs_without_tools_give_schemas_and_calls_that_never_worked_give_none(tmp_path: Path):
    runs = [
        run(n, [("get_order", {"order_id": f"R{n}"}, "{}"), ("order_get", {}, "Error: unknown tool")]) for n in range(6)
    ]
    drafted = draft_tools(Evidence(sampled(tmp_path, runs).runs))
    assert list(drafted.tools) == ["get_order"]
    assert drafted.tools["get_order"]["function"]["parameters"]["required"] == ["order_id"]
    assert [guess.id for guess in drafted.guesses] == ["get_order.parameters"]
    assert "order_get (6)" in drafted.remarks[0]


def test_logged_tools_are_joined_and_the_newest_version_of_each_counts(tmp_path: Path):
    old, new = tool("get_order"), tool("get_order", {"type": "object", "properties": {"order": {"type": "string"}}})
    runs = [run(1, [("get_order", {"order": "R1"}, "{}")], tools=[new, tool("list_orders")], started_at="2026-01-07T00:00:00Z"),
            run(2, [("get_order", {"order_id": "R1"}, "{}"), ("made_up", {}, "ok")], tools=[old], started_at="2026-01-05T00:00:00Z")]  # fmt: skip
    drafted = draft_tools(Evidence(sampled(tmp_path, runs).runs))
    assert list(drafted.tools) == ["get_order", "list_orders"] and not drafted.guesses
    assert drafted.tools["get_order"]["function"] == new["function"]
    assert any("get_order (2)" in remark for remark in drafted.remarks)
    assert any("made_up (1)" in remark for remark in drafted.remarks)


def test_a_logged_schema_that_is_none_gives_way_to_what_was_called(tmp_path: Path):
    bad = tool("get_order", {"type": "thing"})
    drafted = draft_tools(Evidence(sampled(tmp_path, [run(1, [("get_order", {"id": 1}, "{}")], tools=[bad])]).runs))
    assert drafted.tools["get_order"]["function"]["parameters"]["properties"] == {"id": {"type": "number"}}
    assert "cannot be used" in drafted.remarks[0]


def test_the_airlines_guessed_tools_against_the_published_ones():
    if not DATA.is_dir():
        pytest.skip("the real runs (../shared/data) are not here")
    from flywheel.traces.sample import sample

    real = {
        one["function"]["name"]: one["function"]["parameters"] for one in json.loads((DATA / "tools.json").read_text())
    }
    drafted = draft_tools(Evidence(sample(DATA / "trajectories.json").runs))
    assert set(drafted.tools) == set(real)
    agree = both = required = 0
    for name, schema in real.items():
        mine = drafted.tools[name]["function"]["parameters"]
        assert set(mine["properties"]) <= set(schema["properties"]), name
        both += len(schema["properties"])
        agree += sum(
            mine["properties"].get(key, {}).get("type") == value["type"] for key, value in schema["properties"].items()
        )
        required += set(mine.get("required", [])) <= set(schema["required"])
    assert agree >= 0.9 * both, f"{agree} of {both} properties have the published type"
    assert required == len(real)
