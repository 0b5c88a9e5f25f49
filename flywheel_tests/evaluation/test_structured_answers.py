"""Structured answers are scored field by field, and their failures are named like those of calls."""

import dataclasses
import json

import pytest

from flywheel.benchmark.cases import Case, case_of
from flywheel.chat import Renderer
from flywheel.evaluation.scorers.step import score_step
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.evaluation.conftest import RunArm
from flywheel_tests.evaluation.fake_server import completion

DOOR = ResponseSchema("door", {
    "type": "object", "required": ["door", "state"], "additionalProperties": False,
    "properties": {"door": {"type": "string"}, "state": {"enum": ["open", "closed"]}, "count": {"type": "integer"}}})  # fmt: skip
CASE = case_of({
    "id": "say-red", "cluster": "say", "category": "multi_step", "exercises": {"buckets": [], "tools": []},
    "messages": [{"role": "user", "content": "how is the red door? answer as JSON"}],
    "expectation": {"kind": "answer", "response": "door", "fields": {
        "door": {"casefold": "red"}, "state": {"exact": "open"}, "count": {"exact": 2, "may_omit": True}}},
}, "test")  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"door": "red", "state": "open"}', None),
        (' {"state": "open", "door": "RED", "count": 2.0}\n', None),
        ('{"door": "red", "state": "closed"}', "door: state: 'closed' does not match {'exact': 'open'}"),
        ('{"door": "blue", "state": "open", "count": 3}', "door: door: 'blue' does not match"),
        ('{"door": "red"}', 'door: "state" is a required property'),
        ('{"door": "red", "state": "ajar"}', "door.state: "),
        ('{"door": "red", "state": "open", "count": "2"}', "door.count: "),
        ("It is open.", "door: not valid JSON"),
        ("", "door: the answer is empty"),
    ],
)
def test_the_reason_names_the_field(content: str, reason: str | None):
    score = score_step(CASE, {"role": "assistant", "content": content}, [], DOOR)
    assert (score.success, score.expects_call) == (reason is None, False)
    assert score.reason is None if reason is None else str(score.reason).startswith(reason)


def test_without_its_schema_the_fields_decide_alone():
    right, odd = (
        {"role": "assistant", "content": json.dumps({"door": "red", "state": "open", **more})}
        for more in ({}, {"x": 1})
    )
    assert score_step(CASE, right, []).success and score_step(CASE, odd, []).reason == "door: x: not expected"
    assert score_step(CASE, {"role": "assistant", "content": "[]"}, []).reason == "door: the answer is no JSON object"


@pytest.mark.parametrize(
    ("said", "calls", "failure"),
    [
        ('{"door": "red", "state": "open"}', None, None),
        ('{"door": "red", "state": "closed"}', None, ("wrong_arguments", "unmatched_argument")),
        ('{"door": "red", "state": "ajar"}', None, ("schema_violation", "not_in_enum")),
        ('{"door": "red"}', None, ("schema_violation", "missing_required")),
        ("It is open.", None, ("schema_violation", "invalid_json")),
        ('{"door": "door-77123", "state": "open"}', None, ("wrong_arguments", "ungrounded_argument")),
        (None, [("open_door", '{"door": "red"}')], ("wrong_tool_selection", "extra_call")),
    ],
)
def test_each_failure_has_its_name(
    run: RunArm, renderer: Renderer, door: Pack, said: str | None, calls: list | None, failure: tuple[str, str] | None
):
    pack, cases = dataclasses.replace(door, responses=(DOOR,)), list[Case]([CASE])
    row = run(lambda body: completion(renderer, said, calls), cases=cases, pack=pack)[0]
    assert (row["failure_bucket"], row["failure_sub_kind"]) == (failure or (None, None)), row["failure_reason"]
    assert row["success"] is (failure is None) and (row["failure_fault"] == "agent") is (failure is not None)
