"""Examples made from schemas are accepted by the validator, or there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.toolcalls.example import example_call
from flywheel.toolcalls.schema_check import check_arguments
from flywheel.workflows.pack import Pack

LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 30), "format": st.sampled_from(["email", "date"])}),
    st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": st.integers(-5, 50)}),
    st.fixed_dictionaries({"type": st.just("number")}, optional={"maximum": st.integers(-50, 5)}),
    st.just({"type": "boolean"}), st.just({"type": ["null", "string"]}), st.just({"const": 4}),
    st.fixed_dictionaries({"enum": st.lists(st.integers() | st.text(max_size=3), min_size=1, max_size=3)}),
)  # fmt: skip
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda items, n: {"type": "array", "items": items, "minItems": n}, inner, st.integers(0, 3))
        | st.builds(
            lambda properties, closed: {
                "type": "object", "properties": properties, "required": sorted(properties)[:2], "additionalProperties": not closed
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=4), st.booleans(),
        )
    ),
    max_leaves=6,
)  # fmt: skip


def tool(parameters: dict) -> dict:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@given(st.dictionaries(st.sampled_from("xyz"), SCHEMAS, max_size=3), st.booleans())
def test_a_call_is_made_for_any_schema_without_patterns(properties, optional: bool):
    made_for = tool({"type": "object", "properties": properties, "required": sorted(properties)})
    arguments = example_call(made_for, optional=optional)
    assert arguments is not None and set(arguments) == set(properties)
    assert check_arguments(made_for, arguments) == []


@pytest.mark.parametrize(
    ("parameters", "made"),
    [({"type": "object", "properties": {"a": {"type": "string", "pattern": "^Z[0-9]$"}}, "required": ["a"]}, None),
     ({"type": "object", "properties": {"a": {"type": "string", "pattern": "^Z[0-9]$", "examples": ["Z1"]}}, "required": ["a"]}, {"a": "Z1"}),
     ({"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "$defs": {"n": {"anyOf": [{"type": "integer"}]}}}, {"a": 1}),
     ({"type": "object", "properties": {"a": {"$ref": "#"}}}, {}),
     ({"type": "object"}, {}), ({"type": "object", "properties": {"a": {"type": "integer"}}}, {})],
)  # fmt: skip
def test_what_cannot_be_made_is_none(parameters: dict, made):
    assert example_call(tool(parameters)) == made


def test_every_shipped_tool_has_an_example_with_all_its_parameters(pack: Pack):
    for one in pack.tools:
        full = example_call(one, optional=True)
        assert full is not None and set(full) == set(one["function"]["parameters"]["properties"])
