"""Which calls are valid, and why the others are not."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flywheel.toolcalls.references import depth_limit, depth_of
from flywheel.toolcalls.schema_check import acceptor, check_arguments, check_call, schema_problem
from flywheel.workflows.pack import Pack


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("get_order", '{"order_id": "A1"}', None),
        ("get_order", '{"order_id": 1}', "wrong_type"),
        ("get_order", "{}", "missing_required"),
        ("get_order", '{"order_id": "A1", "extra": 1}', "unexpected_argument"),
        ("get_order", '{"order_id": ', "invalid_json"),
        ("get_order", "[]", "not_an_object"),
        ("get_weather", "{}", "unknown_tool"),
        ("cancel_order", '{"order_id": "A1", "reason": "rain"}', "not_in_enum"),
        ("update_address", '{"order_id": "A1", "address": {"street": "x", "city": "y"}}', "missing_required"),
    ],
)
def test_each_kind_of_error_is_named(pack: Pack, name: str, arguments: str, kind: str | None):
    errors = check_call(pack.tools, name, arguments)
    assert [error.kind for error in errors] == ([kind] if kind else [])


def test_remote_references_and_broken_schemas_are_problems():
    assert schema_problem({"type": "object", "properties": {"a": {"$ref": "http://example.org/x"}}})
    assert schema_problem({"type": "object", "properties": {"a": {"type": "text"}}})
    assert schema_problem({"type": "array"})
    assert schema_problem({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}}) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["a", "b", "kelvin", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ORACLE_SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": ["integer", "string"], "minimum": 0},
        "b": {"enum": ["a", 1, None]},
        "c": {"type": "array", "items": {"$ref": "#/$defs/part"}, "maxItems": 2, "uniqueItems": True},
    },
    "required": ["a"],
    "additionalProperties": False,
    "$defs": {"part": {"anyOf": [{"type": "number", "maximum": 9}, {"type": "object", "required": ["a"]}]}},
}


def _tool(schema: dict) -> list[dict]:
    return [{"type": "function", "function": {"name": "f", "parameters": schema}}]


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES, max_size=4))
def test_the_engine_agrees_with_the_oracle(arguments: dict):
    found = check_call(_tool(ORACLE_SCHEMA), "f", json.dumps(arguments))
    expected = list(Draft202012Validator(ORACLE_SCHEMA).iter_errors(arguments))
    assert bool(found) == bool(expected)
    assert {error.path for error in found} == {"/".join(map(str, error.absolute_path)) for error in expected}


@pytest.mark.parametrize(
    ("schema", "value", "ours", "oracles"),
    [
        ({"multipleOf": 0.01}, 19.99, True, False),  # decimal arithmetic; the oracle divides floats
        ({"pattern": r"^\d+$"}, "\u0663", False, True),  # ECMA: \d is ASCII
        ({"pattern": "^a$"}, "a\n", False, True),  # ECMA: $ is the end of the text
    ],
)
def test_known_differences_from_the_oracle(schema: dict, value: object, ours: bool, oracles: bool):
    whole = {"type": "object", "properties": {"x": schema}}
    assert (not check_call(_tool(whole), "f", json.dumps({"x": value}))) is ours
    assert Draft202012Validator(whole).is_valid({"x": value}) is oracles


def test_hostile_schemas_are_refused_or_answered_at_once():
    started = time.monotonic()
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}
    exponential = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubling}
    assert "expand" in str(schema_problem(exponential))
    remote = {"type": "object", "properties": {"x": {"$ref": "file:///etc/hostname"}}}
    assert [error.kind for error in check_call(_tool(remote), "f", "{}")] == ["unusable_schema"]
    catastrophic = {"type": "object", "properties": {"x": {"pattern": "^(a+)+$"}}}
    assert check_call(_tool(catastrophic), "f", json.dumps({"x": "a" * 40 + "!"}))
    assert time.monotonic() - started < 2


def test_a_recursive_schema_that_meets_a_child_twice_is_bounded():
    again = {"allOf": [{"$ref": "#/$defs/node"}, {"$ref": "#/$defs/node"}]}
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"properties": {"x": again}}},
    }
    started = time.monotonic()
    (error,) = check_call(_tool(schema), "f", '{"x": ' * 60 + "1" + "}" * 60)
    assert error.kind == "unusable_schema" and "recursive" in error.message and time.monotonic() - started < 1
    assert not check_call(_tool(schema), "f", '{"x": ' * 12 + "1" + "}" * 12)


def test_a_plain_recursive_schema_may_be_as_deep_as_it_likes():
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert depth_limit(tree) is None and not check_call(_tool(tree), "f", '{"children": [' * 60 + "]}" * 60)
    two = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    assert depth_limit(two) == 24 and depth_limit({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}) is None
    assert depth_of({"a": [1, {"b": 2}]}) == 3 and depth_of(1) == 0


@pytest.mark.parametrize("raw", ['{"x": ' * 900 + "1" + "}" * 900, '{"x": "\\ud800"}', '{"x": ' + str(2**70) + "}"])
def test_hostile_arguments_never_raise(raw: str):
    check_call(_tool({"type": "object", "properties": {"x": {"type": "integer"}}}), "f", raw)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"$ref": "http://example.com/x"},
    ],
)
@pytest.mark.parametrize(
    "raw", ["{}", '{"x": 1}', '{"x": "1"}', "[]", "null", "", '{"x": ', '{"x": NaN}', '{"x": "\\ud800"}', '{"x": ' + str(2**70) + "}",
            '{"x": ' * 900 + "1" + "}" * 900, '{"x": ' * 20_000, '{"left": {"left": {}}}', '{"left": ' * 40 + "{}" + "}" * 40],
)  # fmt: skip
def test_the_acceptor_is_the_check_that_finds_nothing(schema: dict, raw: str):
    tool = _tool(schema)[0]
    assert acceptor(tool)(raw) is (check_arguments(tool, raw) == [])
