"""Arguments: read as they are, never silently changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.toolcalls.arguments import canonical_json, parse_arguments, sha256_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), VALUES))
def test_canonical_json_round_trips_every_value(value: dict):
    assert parse_arguments(canonical_json(value)).value == value


@given(st.text())
def test_parsing_never_raises(text: str):
    parsed = parse_arguments(text)
    assert (parsed.value is None) != (parsed.error is None)


@pytest.mark.parametrize("raw", ["", "{", "[1]", '"x"', "NaN", '{"a": NaN}', None, 5, '{"a":' * 5000])
def test_what_is_no_object_gives_a_reason(raw):
    assert parse_arguments(raw).error


def test_precision_and_key_order_are_kept():
    text = '{"b": 3.14159265358979, "a": 1e-12, "n": 1180591620717411303424}'
    assert json.loads(canonical_json(parse_arguments(text).value)) == json.loads(text)
    assert list(parse_arguments(text).value or {}) == ["b", "a", "n"]


def test_hashes_ignore_key_order_and_nothing_else():
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": "1"})
