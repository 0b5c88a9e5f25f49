"""Arguments are right or wrong by declared rules, not by a lossy comparison."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.benchmark.matchers import (
    KINDS,
    Call,
    MatcherProblem,
    equal,
    match_arguments,
    match_calls,
    matches,
    normalise,
    read_matcher,
)
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
        ({"set": [1, 2]}, [2, 1], True), ({"set": [1, 2]}, [1, 2, 2], False), ({"set": [1, 1, 2]}, [1, 2, 2], False),
        ({"set": []}, [], True), ({"set": [1]}, "1", False), ({"one_of": [1, True]}, 1.0, True), ({"one_of": [1]}, True, False),
        ({"normalised_text": "a - b"}, "a, - b", True), ({"normalised_text": "a b"}, "a . b", True), ({"regex": "A\\d+"}, "A1\n", False),
        ({"regex": "a|bc"}, "abc", False), ({"regex": "x"}, "\ud800", False), ({"ignore": "any wording"}, None, True),
        ({"exact": None}, None, True), ({"exact": {"a": [1]}}, {"a": [1.0]}, True), ({"casefold": "a"}, 1, False), ({"regex": "A\\d+"}, "A1", True),
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


@given(st.lists(VALUES, max_size=4), st.randoms(use_true_random=False), st.lists(VALUES, max_size=4))
def test_a_set_is_a_multiset_in_any_order(wanted, random, other):
    shuffled = random.sample(wanted, len(wanted))
    assert matches({"set": wanted}, shuffled)
    same = any(all(map(equal, wanted, order)) for order in itertools.permutations(other)) and len(wanted) == len(other)
    assert matches({"set": wanted}, other) is same


@given(st.text(max_size=30))
def test_texts_match_themselves_in_any_case_and_normalising_twice_changes_nothing(text):
    assert matches({"casefold": text}, text) and matches({"exact": text}, text)
    assert normalise(normalise(text)) == normalise(text)
    if normalise(text):
        assert matches({"normalised_text": text}, f"  {text}.")


@given(st.sampled_from(KINDS), VALUES, VALUES)
def test_a_matcher_is_read_or_refused_with_a_remedy_and_never_fails_on_a_value(kind, given_value, value):
    try:
        matcher = read_matcher({kind: given_value})
    except MatcherProblem as problem:
        assert problem.remedy
    else:
        assert matcher.accepts(value) in (True, False)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "unknown"), ({"exakt": 1}, "unknown"), ("A1", "unknown"), ({"exact": 1, "one_of": [1]}, "exact and one_of"), ({"one_of": []}, "one_of"),
        ({"one_of": "ab"}, "one_of"), ({"casefold": 1}, "casefold"), ({"exact": 1, "may_omit": "yes"}, "may_omit"), ({"ignore": False}, "ignore"),
        ({"exact": 1, "case": 2}, "case"), ({"regex": "(a"}, "linear"), ({"regex": "(?=a)a"}, "linear"), ({"regex": "(a)\\1"}, "linear"),
        ({"regex": "(\\w{1,900}){1,900}"}, "linear"), ({"normalised_text": " ., "}, "no word"),
    ],
)  # fmt: skip
def test_a_matcher_that_says_nothing_or_too_much_is_refused(rule, said: str):
    with pytest.raises(MatcherProblem, match=said) as caught:
        read_matcher(rule)
    assert caught.value.remedy


def test_no_pattern_hangs():
    started = time.monotonic()
    assert not matches({"regex": "(a+)+"}, "a" * 30_000 + "!")
    assert not matches({"regex": "(a|a)*(a|aa)*b"}, "a" * 30_000)
    assert time.monotonic() - started < 2


def test_the_reason_is_about_a_call_of_the_right_tool_whatever_its_arguments_say():
    expected = [("f", {"x": {"exact": "other tool"}}), ("g", {})]
    found = match_calls(expected, [Call("g", {}), Call("f", {"x": "an other tool"})])
    assert found.selection and not found.arguments and str(found.reason).startswith("f: x:")
