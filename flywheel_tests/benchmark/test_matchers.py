"""Arguments are right or wrong by declared rules, not by a lossy comparison."""

import pytest
from hypothesis import given

from flywheel.benchmark.matchers import Call, equal, match_arguments, match_calls, matches
from flywheel_tests.toolcalls.test_arguments import VALUES


@given(VALUES)
def test_every_json_value_equals_itself(value):
    assert equal(value, value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(1, 1.0, True), (True, 1, False), (0, False, False), ("1", 1, False), ("1.5", "15", False), ([1, 2], [2, 1], False),
     ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True), ({"a": 1}, {"a": 1, "b": 2}, False), (None, "", False)],
)  # fmt: skip
def test_equality_is_typed(one, other, same: bool):
    assert equal(one, other) is same and equal(other, one) is same


@pytest.mark.parametrize(
    ("matcher", "value", "right"),
    [
        ({"one_of": ["a", "b"]}, "b", True), ({"one_of": ["a", "b"]}, "B", False), ({"casefold": "ÄB"}, "äb", True),
        ({"normalised_text": "Mill Lane 5"}, "mill  lane 5.", True), ({"normalised_text": "a b"}, "ab", False),
        ({"set": [1, 2]}, [2, 1], True), ({"set": [1, 2]}, [1, 2, 2], False), ({"regex": "A\\d+"}, "A1", True),
        ({"regex": "A\\d+"}, "xA1", False), ({"ignore": True}, object(), True), ({"exact": "A1"}, "A1", True),
    ],
)  # fmt: skip
def test_each_matcher(matcher: dict, value, right: bool):
    assert matches(matcher, value) is right


def test_missing_extra_and_omittable_parameters():
    expected = {"id": {"exact": "A1"}, "page": {"exact": 1, "may_omit": True}}
    assert match_arguments(expected, {"id": "A1"}) == []
    assert match_arguments(expected, {"id": "A1", "page": 2})
    assert match_arguments(expected, {}) == ["id: missing"]
    assert match_arguments(expected, {"id": "A1", "note": 1}) == ["note: not expected"]
    assert match_arguments(expected, None)


def test_calls_match_in_any_order_by_the_best_pairing():
    expected = [("f", {"x": {"ignore": True}}), ("f", {"x": {"exact": 1}})]
    assert match_calls(expected, [Call("f", {"x": 1}), Call("f", {"x": 2})]).arguments, (
        "greedy pairing would give 1 away"
    )
    assert not match_calls(expected, [Call("f", {"x": 3}), Call("f", {"x": 2})]).arguments
    other = match_calls(expected, [Call("f", {"x": 1}), Call("g", {})])
    assert not other.selection and "g" in str(other.reason)
    assert not match_calls(expected, []).selection and match_calls([], []).arguments


def test_an_empty_call_never_matches_one_with_arguments():
    assert not match_calls([("f", {"x": {"exact": 1}})], [Call("f", {})]).arguments
