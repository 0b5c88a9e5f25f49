"""Cases that expect a structured answer: what the schema does not allow is not frozen."""

import dataclasses
import json
from typing import Any

import pytest

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.lint.run import lint_cases, refuse_errors
from flywheel.benchmark.supersede import outdated
from flywheel.errors import FlywheelError
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.benchmark.test_lint import called, case, reply, rules, user

REFUND = ResponseSchema("refund", {
    "type": "object", "required": ["order_id", "state"], "additionalProperties": False,
    "properties": {"order_id": {"type": "string"}, "state": {"enum": ["open", "paid"]}, "amount": {"type": "number", "minimum": 0},
                   "lines": {"type": "array", "items": {"type": "string"}}}}, ("get_order",))  # fmt: skip
HISTORY = [user("was order R1 refunded?"), *called("get_order", {"order_id": "R1"}, '{"status": "refunded"}')]
RIGHT = {"order_id": {"exact": "R1"}, "state": {"exact": "paid"}}


@pytest.fixture(scope="module")
def answering(pack: Pack) -> Pack:
    return dataclasses.replace(pack, responses=(REFUND,))


def answer(fields: dict[str, Any], response: str = "refund") -> dict[str, Any]:
    return {"kind": "answer", "response": response, "fields": fields}


@pytest.mark.parametrize(
    "fields",
    [
        RIGHT, {**RIGHT, "amount": {"exact": 5.0, "may_omit": True}}, {**RIGHT, "order_id": {"one_of": ["R1", "r1"]}, "lines": {"set": ["a"]}},
        {**RIGHT, "order_id": {"regex": "R\\d"}}, {**RIGHT, "state": {"ignore": "either is fine"}},
    ],
)  # fmt: skip
def test_a_sound_answer_has_no_error(answering: Pack, fields: dict):
    assert rules(answering, case(answer(fields), HISTORY)) == set()


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("unsatisfiable_answer", {"order_id": {"exact": "R1"}}),
        ("unsatisfiable_answer", {**RIGHT, "state": {"exact": "done"}}),
        ("unsatisfiable_answer", {**RIGHT, "order_id": {"exact": 1}}),
        ("unsatisfiable_answer", {**RIGHT, "amount": {"exact": -1}}),
        ("unsatisfiable_answer", {**RIGHT, "note": {"exact": "x"}}),
        ("matches_everything", {**RIGHT, "order_id": {"ignore": True}}),
        ("matches_everything", {**RIGHT, "state": {"one_of": ["open", "paid"]}}),
        ("too_long", {**RIGHT, "order_id": {"exact": "R" * 2_000}}),
    ],
)
def test_an_answer_that_the_schema_refuses_is_not_frozen(answering: Pack, rule: str, fields: dict):
    made = case(answer(fields), HISTORY)
    assert rules(answering, made) == {rule}
    with pytest.raises(FlywheelError, match=rule) as refused:
        refuse_errors(lint_cases([made], answering), [made.id])
    assert refused.value.remedy


def test_a_schema_that_is_not_there_or_not_asked_there_is_told(answering: Pack, pack: Pack):
    assert rules(answering, case(answer(RIGHT, "receipt"), HISTORY)) == {"unknown_response"}
    assert rules(answering, case(answer(RIGHT)), level="warning") == {"unasked_answer"}, "no tool was called before"
    assert rules(answering, case(reply(["it was"]), HISTORY), level="warning") == {"words_for_an_answer"}
    assert rules(pack, case(reply(["it was"]), HISTORY), level="warning") == set()


def test_a_matcher_that_says_nothing_is_refused_with_its_field():
    with pytest.raises(ValueError, match=r"fields[\s\S]*unknown matcher"):
        case(answer({"state": {"is": "paid"}}))


def test_a_changed_schema_is_another_benchmark_and_leaves_its_cases_behind(answering: Pack, pack: Pack):
    made = case(answer(RIGHT), HISTORY)
    schema = json.loads(json.dumps(REFUND.schema))
    schema["properties"]["state"]["enum"] = ["pending", "settled"]
    changed = dataclasses.replace(pack, responses=(dataclasses.replace(REFUND, schema=schema),))
    versions = {benchmark_version([made], one.contract_sha256) for one in (pack, answering, changed)}
    assert len(versions) == 3 and outdated(made, answering) is None
    left = outdated(made, changed)
    assert left is not None and "no answer refund that its schema allows" in left.problem
    assert outdated(made, pack) is not None, "the schema is gone"
