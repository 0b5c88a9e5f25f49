"""Forms: what a schema allows can be drawn, posted and read back as the very same arguments."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.workbench.answers import read
from flywheel.corrections.workbench.form import Field, draw, shape_of
from flywheel.corrections.workbench.offered import Offered
from flywheel.toolcalls.diff import diff
from flywheel.toolcalls.schema_check import check_call

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=12)
LEAF = st.sampled_from(
    [
        {"type": "string"}, {"type": "string", "format": "date"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"},
        {"enum": ["a", "b", 3, None]}, {"enum": [f"v{n}" for n in range(12)]}, {"const": "x"}, {"type": ["string", "null"]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"type": "object"}, {},
        {"$ref": "#/$defs/place"}, {"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"$ref": "#/$defs/place"}},
    ]
)  # fmt: skip
PLACE = {"type": "object", "properties": {"zip": {"type": "string"}, "floor": {"type": "integer"}}, "required": ["zip"]}


def object_of(inner: Any) -> Any:
    names = st.lists(st.sampled_from(["id", "a/b", "t~", "note", "ü"]), min_size=1, max_size=4, unique=True)
    return names.flatmap(
        lambda keys: st.tuples(
            st.fixed_dictionaries({key: inner for key in keys}), st.lists(st.sampled_from(keys), unique=True)
        )
    ).map(lambda pair: {"type": "object", "properties": pair[0], "required": pair[1]})


SCHEMAS = object_of(st.recursive(LEAF, object_of, max_leaves=4)).map(
    lambda schema: {**schema, "$defs": {"place": PLACE}}
)


def value_of(schema: Any, root: Any) -> Any:
    """A strategy of values that a schema allows."""
    if "$ref" in schema:
        return value_of(PLACE, root)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    for branches in (schema.get("anyOf"), schema.get("oneOf")):
        if branches:
            return st.one_of([value_of(branch, root) for branch in branches])
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of([value_of({**schema, "type": one}, root) for one in kind])
    plain = {"string": TEXT, "integer": st.integers(), "boolean": st.booleans(), "null": st.none(), None: st.just({"any": [1]}),
             "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers()}  # fmt: skip
    if kind == "array":
        return st.lists(value_of(schema["items"], root), max_size=3)
    if kind == "object" and "properties" in schema:
        values = {key: value_of(inner, root) for key, inner in schema["properties"].items()}
        needed = {key: values[key] for key in schema.get("required", ())}
        return st.fixed_dictionaries(
            needed, optional={key: value for key, value in values.items() if key not in needed}
        )
    return st.just({"free": "form"}) if kind == "object" else plain[kind]


CASES = SCHEMAS.flatmap(lambda schema: st.tuples(st.just(schema), value_of(schema, schema)))


def posted(fields: tuple[Field, ...]) -> dict[str, str]:
    """What a browser posts of a drawn form when nobody touched it."""
    found: dict[str, str] = {}
    for field in fields:
        found[f"s:{field.name}"] = field.state
        if field.widget == "array":
            found[f"n:{field.name}"] = str(len(field.children))
        elif field.widget == "choice":
            if field.state == "given":
                found[f"v:{field.name}"] = field.text
        elif field.widget != "object":
            found[f"v:{field.name}"] = field.text.replace("\n", "\r\n")  # as browsers do
        found |= posted(field.children)
    return found


@settings(max_examples=400, deadline=None)
@given(CASES)
def test_drawn_and_posted_untouched_the_arguments_are_the_same(case: Any):
    schema, arguments = case
    fields = draw(schema, arguments)
    assert fields is not None
    found = read(schema, posted(fields), {})  # nothing to fall back on: the form alone says it
    assert not found.unread and diff(arguments, found.arguments) == []
    assert json.dumps(found.arguments, sort_keys=True) == json.dumps(arguments, sort_keys=True), "types are kept too"


@settings(max_examples=200, deadline=None)
@given(
    CASES,
    st.dictionaries(st.text(max_size=4), st.none() | st.integers() | TEXT | st.just("\r") | st.just(["x"]), max_size=3),
)
def test_values_that_do_not_fit_are_kept_as_they_are(case: Any, wrong: dict[str, Any]):
    schema, arguments = case
    held = {
        **arguments,
        **wrong,
        **{key: value for key, value in zip(schema["properties"], wrong.values(), strict=False)},
    }
    fields = draw(schema, held)
    assert fields is not None
    assert diff(held, read(schema, posted(fields), held).arguments) == []


def one(schema: dict[str, Any], value: Any = None) -> Field:
    fields = draw({"type": "object", "properties": {"x": schema}}, {} if value is None else {"x": value})
    assert fields
    return fields[0]


@pytest.mark.parametrize(
    ("schema", "widget"),
    [
        ({"type": "string"}, "text"), ({"type": "string", "maxLength": 500}, "area"), ({"type": "integer"}, "number"),
        ({"type": "boolean"}, "choice"), ({"enum": list("abcdefghi")}, "choice"), ({"enum": list("abcdefghij")}, "typeahead"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "json"), ({"type": ["string", "integer"]}, "json"),
        ({"type": "object", "patternProperties": {".": {}}}, "json"), ({"type": "array", "prefixItems": [{}], "items": {}}, "json"),
        ({"$ref": "#/nowhere"}, "json"), ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"), (True, "json"),
    ],
)  # fmt: skip
def test_each_kind_of_schema_has_its_field(schema: Any, widget: str):
    assert one(schema).widget == widget


def test_a_recursive_schema_ends_in_a_json_box():
    root = {"type": "object", "properties": {"in": {"$ref": "#"}}}
    loop = {
        "type": "object",
        "properties": {"in": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "object", "properties": {"in": {"$ref": "#/$defs/n"}}}},
    }
    assert shape_of(root, root).widget == "object" and draw(root, {}) and draw(loop, {})


def read_one(schema: Any, posted_fields: dict[str, str], base: Any = None) -> Any:
    found = read({"type": "object", "properties": {"x": schema}}, posted_fields, {} if base is None else {"x": base})
    return found.arguments.get("x", "absent"), found.unread


@pytest.mark.parametrize(
    ("schema", "fields", "value"),
    [
        ({"type": "integer"}, {"s:/x": "given", "v:/x": "12"}, 12),
        ({"type": "integer"}, {"s:/x": "given", "v:/x": "twelve"}, "twelve"),  # the validator says what is wrong with it
        ({"type": "number"}, {"s:/x": "given", "v:/x": "1e999"}, "1e999"),
        ({"type": "integer"}, {"s:/x": "given", "v:/x": ""}, "absent"),
        ({"type": "string"}, {"s:/x": "absent", "v:/x": "typed without a script"}, "typed without a script"),
        ({"type": "string"}, {"s:/x": "given", "v:/x": ""}, ""),
        ({"type": ["string", "null"]}, {"s:/x": "null", "v:/x": ""}, None),
        ({"enum": ["a", 2]}, {"s:/x": "keep", "v:/x": "1"}, 2),
        ({"enum": ["a", 2]}, {"s:/x": "given", "v:/x": "77"}, "absent"),
        ({"type": "array", "items": {"type": "integer"}}, {"s:/x": "given", "n:/x": "2", "s:/x/0": "given", "v:/x/0": "1", "s:/x/1": "given", "v:/x/1": "2"}, [1, 2]),
        ({"type": "array", "items": {"type": "string"}}, {"s:/x": "given", "n:/x": "999999999"}, []),
        ({}, {"s:/x": "given", "v:/x": '{"a": [1]}'}, {"a": [1]}),
    ],
)  # fmt: skip
def test_what_is_typed_is_read(schema: Any, fields: dict[str, str], value: Any):
    assert read_one(schema, fields)[0] == value


def test_text_in_a_json_box_that_is_no_json_is_kept_apart_and_the_old_value_stays():
    assert read_one({}, {"s:/x": "given", "v:/x": "{bad"}, [1]) == ([1], {"/x": "{bad"})
    assert read_one({}, {"s:/x": "given", "v:/x": "NaN"}, [1])[1] == {"/x": "NaN"}


def test_values_seen_earlier_are_offered_the_same_name_first():
    run = [
        {"role": "user", "content": 'Order R7 and "the blue one", mia@example.org, 48.50 EUR'},
        {"role": "tool", "tool_call_id": "c", "content": '{"order": {"order_id": "R9", "amount": 12}}'},
    ]
    offered = Offered(run)
    string, number = shape_of({"type": "string"}, {}), shape_of({"type": "number"}, {})
    assert offered(("order_id",), string)[0] == "R9" and "R7" in offered(("order_id",), string)
    assert {"the blue one", "mia@example.org"} <= set(offered(("note",), string))
    assert offered(("amount",), number)[:2] == ("12", "48.5")
    assert offered(("x",), shape_of({"enum": ["a"]}, {})) == ()


def test_records_in_a_list_are_offered_by_name_and_marks_of_markdown_are_none_of_a_value():
    run = [
        {"role": "tool", "tool_call_id": "c", "content": '[[{"flight": "HAT1", "leaves": "07:00:00"}, {"flight": "HAT2"}]]'},
        {"role": "assistant", "content": "Take **HAT3** or `HAT4`, for order #W5."},
        {"role": "tool", "tool_call_id": "d", "content": "[no JSON 6"},
    ]  # fmt: skip
    string = shape_of({"type": "string"}, {})
    offered = Offered(run)(("flight",), string)
    assert offered[:2] == ("HAT1", "HAT2")
    assert {"HAT3", "HAT4", "#W5", "6"} <= set(offered) and "07" not in offered


def test_a_form_that_cannot_be_drawn_is_still_validated():
    tool = {
        "type": "function",
        "function": {
            "name": "t",
            "parameters": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        },
    }
    assert draw(tool["function"]["parameters"], {}) is None
    assert check_call([tool], "t", "{}") and not check_call([tool], "t", '{"a": 1}')
