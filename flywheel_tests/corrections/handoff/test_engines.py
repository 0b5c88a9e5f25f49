"""The partner's validator and the form's must give one verdict: the pinned differences, and random schemas and arguments."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.handoff.verify import matching
from flywheel.corrections.handoff.verify import schema as partner
from flywheel.corrections.handoff.verify.matching import search
from flywheel.corrections.handoff.verify.patterns import UnsupportedPattern, parse
from flywheel.toolcalls.schema_check import check_call, schema_problem

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def house_says(schema: dict[str, Any], raw: str) -> tuple[bool, set[str]]:
    errors = check_call([{"type": "function", "function": {"name": "f", "parameters": schema}}], "f", raw)
    return not errors, {error.path for error in errors}


def partner_says(schema: dict[str, Any], raw: str) -> tuple[bool, set[str]]:
    problems = partner.check_arguments(schema, raw)
    return not problems, {problem.path for problem in problems}


PINNED = [
    ({"multipleOf": 0.01}, "19.99", True), ({"multipleOf": 0.1}, "0.30000000000000004", False), ({"multipleOf": 3}, str(3 * 2**70), True),
    ({"multipleOf": 0.5}, "1e300", True), ({"multipleOf": 0.1}, "1e-300", False), ({"multipleOf": 0.3}, "9e-1", True),
    ({"pattern": r"^\d+$"}, '"\u0663"', False), ({"pattern": r"^\w+$"}, '"é"', False), ({"pattern": "^a$"}, '"a\\n"', False),
    ({"pattern": r"^\p{L}+$"}, '"éa"', True), ({"pattern": r"^\p{Lu}$"}, '"é"', False), ({"pattern": r"\bé\b"}, '" é "', True),
    ({"pattern": r"^\s$"}, '"\\ufeff"', True), ({"pattern": r"^\s$"}, '"\\u0085"', False), ({"pattern": "^.$"}, '"\\r"', True),
    ({"pattern": "^.$"}, '"\\n"', False), ({"pattern": r"^[^\d]$"}, '"\u0663"', True), ({"pattern": "^(a+)+$"}, f'"{"a" * 40}!"', False),
    ({"pattern": r"^(?=.*\d)(?!.*x).{3}$"}, '"ab1"', True), ({"pattern": r"^(?=.*\d)(?!.*x).{3}$"}, '"xb1"', False),
    ({"pattern": r"(?=.)\d"}, '"\u0663"', True), ({"pattern": r"(?=.)^\s"}, '"\\ufeff"', False), ({"pattern": r"^(?!x)\w$"}, '"é"', True),
    ({"pattern": r"^(?<=)b|(?<!a)c"}, '"ac"', False), ({"format": "email"}, '"none"', True), ({"type": "integer"}, "1.0", True),
    ({"type": "integer"}, "1e300", True), ({"const": 1}, "true", False), ({"const": 1}, "1.0", True), ({"enum": [[1]]}, "[true]", False),
    ({"uniqueItems": True}, "[1, true]", True), ({"uniqueItems": True}, '[{"a": 1}, {"a": 1.0}]', False),
    ({"maximum": 2**53}, str(2**53 + 1), False), ({"minLength": 2}, '"\\ud83d\\ude00"', False), ({}, "NaN", False), ({}, "Infinity", False),
    ({}, "1e999", False), ({}, '"\\ud800"', False), ({}, "01", False), ({}, '{"a": 1, "a": 2}', True), ({}, "1" * 5000, False),
    ({"patternProperties": {r"^\d$": {"type": "string"}}, "additionalProperties": False}, '{"\u0663": ""}', False),
    ({"patternProperties": {r"^\d$": {"type": "string"}}, "additionalProperties": False}, '{"3": ""}', True),
    ({"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}, '{"a": 1, "b": 1}', False),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "valid"), PINNED)
@pytest.mark.parametrize("dialect", [{}, {"$schema": DRAFT_7}], ids=["2020-12", "draft-07"])
def test_pinned_differences_are_resolved_the_same_way(schema: dict, value: str, valid: bool, dialect: dict):
    whole = {**dialect, "type": "object", "properties": {"x": schema}}
    assert partner.problem_of(whole) is None
    raw = f'{{"x": {value}}}'
    assert partner_says(whole, raw) == house_says(whole, raw)
    assert partner_says(whole, raw)[0] is valid


KEYS = st.sampled_from(["a", "b", "c", "é1"])
NUMBERS = st.integers(-(2**70), 2**70) | st.integers(-4, 4) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [19.99, 0.1, 0.3, 1.0, 0.5, 2**53 + 1, 1e300])  # fmt: skip
TEXTS = st.text(alphabet="aAbé٣1 \n\r_-\ufeff😀", max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5,
)  # fmt: skip
ATOMS = st.sampled_from([r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", ".", "a", "é", r"\b", "[a-b]", r"[^\d]", r"[\w-]", r"\p{L}", r"\P{Ll}", "^", "$",
                         r"\u0041", "[-a]", r"\.", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"\B"])  # fmt: skip
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3).map("".join) | st.lists(inner, min_size=1, max_size=2).map(lambda p: f"(?:{'|'.join(p)})")
    | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "*?"])).map(lambda p: f"({p[0]}){p[1]}"), max_leaves=5,
)  # fmt: skip
BOUNDS = st.integers(-3, 3) | st.sampled_from([0.1, 0.5, 2.5])
COUNTS = st.integers(0, 3)
KEYWORDS = {
    "type": st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", ["integer", "null"]]),
    "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES, "pattern": PATTERNS, "format": st.just("date"),
    "multipleOf": st.sampled_from([0.01, 0.1, 1, 2, 3, 0.5, 1e-8]), "minimum": BOUNDS, "maximum": BOUNDS, "exclusiveMinimum": BOUNDS,
    "minLength": COUNTS, "maxLength": COUNTS, "minItems": COUNTS, "maxItems": COUNTS, "uniqueItems": st.booleans(),
    "minProperties": COUNTS, "required": st.lists(KEYS, max_size=2, unique=True),
}  # fmt: skip
LEAVES = st.fixed_dictionaries({}, optional=KEYWORDS)
SCHEMAS = st.recursive(
    LEAVES | st.booleans(),
    lambda inner: st.fixed_dictionaries({}, optional={
        "properties": st.dictionaries(KEYS, inner, max_size=3), "additionalProperties": inner, "items": inner, "not": inner,
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2), "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2), "allOf": st.lists(inner, min_size=1, max_size=2), "if": inner, "then": inner,
        "propertyNames": inner, "contains": inner, "dependentSchemas": st.dictionaries(KEYS, inner, max_size=1),
    }), max_leaves=6,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(KEYS, SCHEMAS, min_size=1, max_size=3), st.dictionaries(KEYS, VALUES, max_size=3))
def test_random_schemas_and_arguments_get_one_verdict(properties: dict, arguments: dict):
    schema = {"type": "object", "properties": properties, "required": ["a"], "additionalProperties": False}
    if schema_problem(schema) or partner.problem_of(schema):
        return
    raw = json.dumps(arguments)
    assert partner_says(schema, raw)[0] == house_says(schema, raw)[0]


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.text(alphabet="aAbBé٣1 \n\r_-.\ufeff😀", max_size=6))
def test_random_patterns_match_alike(pattern: str, text: str):
    schema = {"type": "object", "properties": {"x": {"pattern": pattern}}}
    try:
        parse(pattern)
    except UnsupportedPattern:
        return
    if schema_problem(schema) is None:
        assert search(pattern, text) == house_says(schema, json.dumps({"x": text}))[0], (pattern, text)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"x": {"pattern": r"(a)\1"}}}, r"the escape \1"),
        ({"properties": {"x": {"pattern": "(?i)a"}}}, "flags"),
        ({"properties": {"x": {"pattern": r"\p{Script=Greek}"}}}, "Unicode property"),
        ({"properties": {"x": {"pattern": "a{1,9999}"}}}, "repetition past"),
        ({"properties": {"x": {"pattern": "a" * 3000}}}, "longer than"),
        ({"properties": {"x": {"$ref": "https://example.org/a"}}}, "leaves the document"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "dialect"),
        ({"$schema": DRAFT_7, "properties": {"x": {"contentEncoding": "base64"}}}, "one engine only"),
        ({"properties": {"x": {"type": "text"}}}, "invalid JSON Schema"),
        ([], "no JSON object"),
    ],
)
def test_what_cannot_be_judged_alike_is_named_before_it_goes_out(schema: Any, said: str):
    assert said in str(partner.problem_of(schema))


def test_catastrophic_patterns_and_deep_values_are_answered_in_seconds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matching, "BUDGET", 1_000_000)
    started = time.monotonic()
    assert not search("^(a+)+$", "a" * 800 + "!") and search("^.*$", "a" * 200_000)
    schema = {"type": "object", "properties": {"x": {"pattern": "(.*)*(.*)*x$"}, "y": {"$ref": "#"}}}
    assert "bounded work" in partner.check_arguments(schema, json.dumps({"x": "a" * 20_000}))[0].expected
    assert partner.check_arguments(schema, '{"y": ' * 900 + "{}" + "}" * 900)
    assert partner.check_arguments({"properties": {"x": {"$ref": "#/$defs/none"}}}, '{"x": 1}')
    twice = {
        "properties": {"x": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"properties": {"c": {"allOf": [{"$ref": "#/$defs/n"}] * 2}}}},
    }
    deep = '{"x": ' + '{"c": ' * 50 + "1" + "}" * 51
    assert "references to follow" in partner.check_arguments(twice, deep)[0].expected
    assert time.monotonic() - started < 10
