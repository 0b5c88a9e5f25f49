"""The JSON-path distance: what counts as equal, and hand-counted differences."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.toolcalls.distance import distance, edits


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, 0.0),
        (None, None, 0.0),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": "1"}, 0.0),
        ({"a": " New  York"}, {"a": "new york"}, 0.0),
        ({"a": [1, 2, 2]}, {"a": [2, 1, 2]}, 0.0),
        ({"a": [1, 2]}, {"a": [1, 3]}, 1 / 2),
        ({"a": 1}, {"a": 2}, 1.0),
        ({"a": 1}, {"a": 1, "b": 2}, 1 / 2),
        ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 9}, "d": 3}, 1 / 3),
        ({"a": "007"}, {"a": 7}, 1.0),
        ({"a": "1234567890123456789"}, {"a": "1234567890123456788"}, 1.0),
        ({"a": True}, {"a": 1}, 1.0),
        ({"a": []}, {"a": {}}, 1.0),
    ],
)
def test_by_hand(one: Any, other: Any, expected: float):
    assert distance(one, other) == distance(other, one) == pytest.approx(expected)


def test_edits_count_leaves():
    assert edits({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == 2 and edits({"x": [1, 2]}, {"x": []}) == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_it_is_a_share_symmetric_and_zero_for_itself(one: Any, other: Any):
    assert distance(one, one) == 0 and 0 <= distance(one, other) == distance(other, one) <= 1
