"""Scorers: what passes, what fails, and what each failure is called."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.benchmark.cases import Case, ExpectedCall
from flywheel.benchmark.matchers import Call, equal
from flywheel.chat import Renderer
from flywheel.evaluation.scorers.bfcl_compat import bfcl_match, possible_answers
from flywheel.evaluation.scorers.outputs import says
from flywheel.evaluation.scorers.state import difference
from flywheel.evaluation.scorers.trajectory import matched_pairs, trajectory_match
from flywheel.workflows.evaluation_settings import Evaluation
from flywheel.workflows.pack import Pack
from flywheel_tests.evaluation.conftest import RunArm
from flywheel_tests.evaluation.fake_server import completion

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "phrase", "said"),
    [("It costs $1,250.00 in all.", "1250", True), ("It costs 1250 now", "$1,250.00", True), ("15 doors", "5", False), ("2.50", "2.5", True),
     ("version 1.5.2", "1.5", False), ("order W71366", "71366", False), ("order 00123", "00123", True), ("order 123", "00123", False),
     ("You were CANCELLED", "cancel", True), ("3-5 days", "5", True), ("-5 degrees", "5", False), ("1,2 and 3", "12", False),
     ("pay 15kg", "15", True), ("", "x", False)],
)  # fmt: skip
def test_a_number_is_said_as_a_number_and_a_phrase_anywhere(text: str, phrase: str, said: bool):
    assert says(text, phrase) is said


@given(json_values, json_values)
def test_states_agree_exactly_where_typed_equality_does(one, other):
    assert difference(one, one) is None
    if equal(one, other):
        assert difference(one, other) is None
    elif difference(one, other) is None:
        assert not equal(one, other) and "e" in repr([one, other]) or "." in repr([one, other]), (
            "only floats may be close"
        )


def test_whole_numbers_are_ids_and_counts_that_agree_exactly():
    for one, other in (
        (10_000_000_001, 10_000_000_002),
        (1_700_000_000_000, 1_700_000_000_900.0),
        (10**400, 1.5),
        (10**400, 10**400 + 1),
    ):
        assert difference({"id": one}, {"id": other}) and difference({"id": other}, {"id": one})
    for one, other in ((10**16, 1e16), (19.99, 19.990000000000002), (3.0000000000000004, 3)):
        assert difference({"id": one}, {"id": other}) is None is difference({"id": other}, {"id": one})


def test_a_difference_names_its_place_and_volatile_fields_are_left_out():
    gold = {"orders": {"A1": {"amount": 0.3, "at": 1, "paid": True}}, "log": [{"id": 7}]}
    made = {"orders": {"A1": {"amount": 0.1 + 0.2, "at": 2, "paid": 1}}, "log": [{"id": 8}]}
    assert difference(gold, made) == "orders.A1.at is 2 instead of 1"
    assert difference(gold, made, ["at"]) == "orders.A1.paid is 1 instead of True"
    assert difference(gold, made, ["orders.*.at", "paid"]) == "log.0.id is 8 instead of 7"
    assert difference(gold, made, ["at", "paid", "log.*.id"]) is None
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "b is there and should not be"
    assert (
        difference({"a": 1, "b": 2}, {"a": 1}) == "b is missing"
        and difference({"a": 1, "b": 2}, {"a": 1}, ["b"]) is None
    )


def same(one: str, other: str) -> bool:
    return one == other


@pytest.mark.parametrize(
    ("made", "reference", "modes"),
    [([["a"], ["b"]], [["a"], ["b"]], "strict unordered subset superset"), ([["b"], ["a"]], [["a"], ["b"]], "unordered subset superset"),
     ([["a", "b"]], [["b", "a"]], "strict unordered subset superset"), ([["a", "b"]], [["a"], ["b"]], "unordered subset superset"),
     ([["a"]], [["a"], ["b"]], "subset"), ([["a"], ["b"], ["a"]], [["a"], ["b"]], "superset"), ([["a"], ["a"]], [["a"], ["b"]], ""),
     ([], [["a"]], "subset"), ([["a"]], [], "superset"), ([], [], "strict unordered subset superset")],
)  # fmt: skip
def test_trajectory_modes_mean_what_agentevals_means(made, reference, modes: str):
    assert [mode for mode, holds in trajectory_match(made, reference, same).items() if holds] == modes.split()


def test_calls_are_paired_by_a_maximum_matching_not_the_first_that_fits():
    # "x" is right for both of the reference, "y" only for the first: whoever takes "x" for the first finds nothing for the second.
    assert matched_pairs(["x", "y"], ["xy", "x"], lambda want, have: have in want) == 2


TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "required": ["a"], "properties": {
    "a": {"type": "string"}, "n": {"type": "number"}, "i": {"type": "integer"}, "ok": {"type": "boolean"},
    "l": {"type": "array", "items": {"type": "string"}}, "o": {"type": "object"}}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "arguments", "passes"),
    [
        # What BFCL takes for right and is wrong (notes of its checker, each run through bfcl-eval 2026.3.23).
        ({"a": ["1.5"]}, {"a": "15"}, True), ({"a": ["-5"]}, {"a": "5"}, True), ({"a": ["a_b"]}, {"a": "AB"}, True),
        ({"a": ["2024-11-2"]}, {"a": "2024-1-12"}, True), ({"a": ["it's"]}, {"a": 'it"s'}, True),
        # Its rules.
        ({"a": ["x"], "n": [5.0]}, {"a": "x", "n": 5}, True), ({"a": ["x"], "i": [5]}, {"a": "x", "i": 5.0}, False),
        ({"a": ["x"], "i": [1]}, {"a": "x", "i": True}, False), ({"a": ["x"], "ok": [True]}, {"a": "x", "ok": 1}, False),
        ({"a": ["x"], "i": [1]}, {"a": "x"}, False), ({"a": ["x"], "i": [1, ""]}, {"a": "x"}, True),
        ({"a": ["x"]}, {"a": "x", "i": 1}, False), ({"a": ["x"], "q": [1]}, {"a": "x", "q": 1}, False), ({"a": ["x", ""]}, {}, False),
        ({"a": ["x"], "l": [["A b", "c"]]}, {"a": "x", "l": ["ab", "C"]}, True), ({"a": ["x"], "l": [["a", "c"]]}, {"a": "x", "l": ["c", "a"]}, False),
        ({"a": ["x"], "l": [["a"]]}, {"a": "x", "l": [1]}, False), ({"a": ["x"], "o": [{"k": ["V-1"]}]}, {"a": "x", "o": {"k": "v1"}}, True),
        ({"a": ["x"], "o": [{"k": [1], "m": ["", 2]}]}, {"a": "x", "o": {"k": True}}, True), ({"a": ["x"], "o": [{"k": [1]}]}, {"a": "x", "o": {}}, False),
        ({"a": [1]}, {"a": 1}, True), ({"a": [1]}, {"a": "1"}, False),
    ],
)  # fmt: skip
def test_bfcl_compat_passes_what_bfcl_passes(answers, arguments, passes: bool):
    assert bfcl_match([("book", answers)], [Call("book", arguments)], [TOOL]) is passes


def test_bfcl_compat_counts_calls_and_pairs_the_first_that_fits():
    expected = [("book", {"a": ["x", "y"]}), ("book", {"a": ["x"]})]
    calls = [Call("book", {"a": "x"}), Call("book", {"a": "y"})]
    assert not bfcl_match(expected, calls, [TOOL]), "greedy, as BFCL: the first takes x"
    assert bfcl_match(expected[::-1], calls, [TOOL]) and not bfcl_match(expected[:1], calls, [TOOL])
    numbers = [("book", {"a": ["x"], "n": [1]}), ("book", {"a": ["x"], "n": [2]})]
    assert not bfcl_match(numbers, [Call("book", {"a": "x", "n": True}), Call("book", {"a": "x", "n": 1})], [TOOL])
    assert not bfcl_match([("book", {"a": ["x"]})], [Call("book", None)], [TOOL]) and not bfcl_match(
        expected[:1], [Call("cook", {"a": "x"})], [TOOL]
    )
    assert possible_answers(ExpectedCall(name="book", arguments={"a": {"regex": "x+"}})) is None
    told = ExpectedCall(
        name="book", arguments={"a": {"one_of": ["x", "y"], "may_omit": True}, "o": {"exact": {"k": {"m": 1}}}}
    )
    assert possible_answers(told) == {"a": ["x", "y", ""], "o": [{"k": [{"m": [1]}]}]}


CALL, REFUSE = "call-open-red-0", "idle-0"
JAMMED, EPISODE = "jam-open-red-0", "episode-open-red-0"


@pytest.mark.parametrize(
    ("case_id", "said", "calls", "failure"),
    [
        (CALL, None, [("open_door", '{"door": "green"}')], ("wrong_arguments", "unmatched_argument")),
        (CALL, None, [("close_door", '{"door": "red"}')], ("wrong_tool_selection", "different_tool")),
        (CALL, None, [("open_door", '{"door": "red"}')] * 2, ("wrong_tool_selection", "extra_call")),
        (CALL, "It is open.", None, ("wrong_tool_selection", "missing_call")),
        (CALL, "Sorry, I cannot do that.", None, ("refusal_error", "over_refusal")),
        (CALL, None, [("open_door", '{"door": "red"')], ("schema_violation", "invalid_json")),
        (CALL, None, [("open_window", '{"door": "red"}')], ("schema_violation", "unknown_tool")),
        (CALL, None, [("open_door", '{"door": "pink"}')], ("schema_violation", "not_in_enum")),
        (CALL, '<tool_call>{"name": "open_door"}', None, ("schema_violation", "unparsed_call")),
        (CALL, "", None, ("premature_termination", "empty_turn")),
        (REFUSE, None, [("open_door", '{"door": "red"}')], ("refusal_error", "should_have_refused")),
        (REFUSE, "La la la.", None, ("refusal_error", "should_have_refused")),
        (JAMMED, None, [("open_door", '{"door": "red"}')], ("bad_recovery", "repeated_identical_call")),
        (JAMMED, None, [("open_door", '{"door": "blue"}')], ("wrong_tool_selection", "extra_call")),
        (JAMMED, "Done, it has been opened.", None, ("bad_recovery", "false_success_claim")),
        (EPISODE, "it is done", None, ("wrong_tool_selection", "missing_call")),
        (EPISODE, None, [("open_door", '{"door": "blue"}')], ("wrong_arguments", "gold_arguments")),
    ],
)  # fmt: skip
def test_each_failure_has_its_name(
    run: RunArm, renderer: Renderer, door_cases: list[Case], case_id: str, said, calls, failure
):
    case = [case for case in door_cases if case.id == case_id]

    def answer(body):
        again = body["messages"][-1]["role"] == "tool" and case_id == EPISODE
        return completion(renderer, "it is done") if again else completion(renderer, said, calls)

    row = run(answer, cases=case)[0]
    assert row["success"] is False and row["failure_fault"] == "agent"
    assert (row["failure_bucket"], row["failure_sub_kind"]) == failure, row["failure_reason"]
    assert failure[0] in json.loads(row["failure_tags"])


def test_an_episode_that_ends_right_but_says_nothing_of_it_and_one_with_the_wrong_order(
    run: RunArm, renderer: Renderer, door: Pack, door_cases: list[Case]
):
    case = next(case for case in door_cases if case.id == EPISODE)
    red = '{"door": "red"}'

    def after(calls, last):
        return lambda body: (
            completion(renderer, last) if body["messages"][-1]["role"] == "tool" else completion(renderer, None, calls)
        )

    silent = run(after([("open_door", red)], "Goodbye."), cases=[case])[0]
    assert (silent["failure_bucket"], silent["failure_sub_kind"]) == ("misread_tool_output", "missing_output")
    assert silent["arguments_match"] is True
    both = [{"name": "close_door", "arguments": {"door": "red"}}, {"name": "open_door", "arguments": {"door": "red"}}]
    expectation = case.expectation.model_copy(
        update={"actions": [type(case.expectation.actions[0])(**one) for one in both]}
    )  # type: ignore[union-attr]
    ordered = case.model_copy(update={"expectation": expectation})
    turned = run(after([("open_door", red), ("close_door", red)], "it is done"), cases=[ordered])[0]
    assert (turned["failure_bucket"], turned["failure_sub_kind"]) == ("wrong_tool_selection", "wrong_sequence")
    assert turned["failure_reason"].endswith("red is 'closed' instead of 'open'")
    assert json.loads(turned["trajectory_match"]) == {
        "strict": False,
        "unordered": True,
        "subset": True,
        "superset": True,
    }
    lax = dataclasses.replace(
        door, settings=door.settings.model_copy(update={"evaluation": Evaluation(volatile_fields=["red"])})
    )
    assert run(after([("open_door", red), ("close_door", red)], "it is done"), cases=[ordered], pack=lax)[0]["success"]
