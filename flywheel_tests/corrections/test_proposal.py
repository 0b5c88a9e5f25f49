"""The automatic check: what never reaches a reviewer."""

import json

import pytest

from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.workflows.pack import Pack


def call(arguments: dict, name: str = "get_order") -> dict:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


ORIGINAL = [{"role": "user", "content": "A1?"}, {"role": "assistant", "content": "Hm."}]
RIGHT = Proposal(1, [ORIGINAL[0], call({"order_id": "A1"})], [1], "truncated")


def test_a_right_proposal_passes(pack: Pack):
    assert auto_check(RIGHT, ORIGINAL, pack.tools) == []


@pytest.mark.parametrize(
    ("proposal", "said"),
    [
        (RIGHT._replace(first_bad_message_index=0), "no assistant step"),
        (RIGHT._replace(first_bad_message_index=9), "no assistant step"),
        (RIGHT._replace(messages=[{"role": "user", "content": "other"}, call({"order_id": "A1"})]), "were changed"),
        (RIGHT._replace(messages=ORIGINAL), "unchanged"),
        (RIGHT._replace(trainable_indices=[]), "must be the first trainable"),
        (RIGHT._replace(messages=[ORIGINAL[0], call({"order_id": 1})]), "is not of type"),
        (RIGHT._replace(messages=[ORIGINAL[0], call({}, "get_weather")]), "no tool named"),
        (RIGHT._replace(messages=[ORIGINAL[0], {"role": "assistant", "content": ""}]), "neither says nor calls"),
        (
            RIGHT._replace(messages=[*RIGHT.messages, {"role": "tool", "tool_call_id": "z", "content": ""}]),
            "no message made",
        ),
    ],
)
def test_each_problem_is_said(pack: Pack, proposal: Proposal, said: str):
    assert said in " ".join(auto_check(proposal, ORIGINAL, pack.tools))
