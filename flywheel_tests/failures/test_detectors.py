"""Detectors: each sees what it is for, and stays silent on runs that are right."""

import json

import pytest

from flywheel.detectors.finding import Rules
from flywheel.failures.failure_clusters import cluster_name
from flywheel.failures.triage import Triage
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack

_IDS = iter(range(10**6))


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def said(text: str) -> dict:
    return {"role": "assistant", "content": text}


def call(name: str, result: dict | None = None, **arguments) -> list[dict]:
    identity = f"c{next(_IDS)}"
    function = {"name": name, "arguments": json.dumps(arguments)}
    made = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": identity, "type": "function", "function": function}],
        }
    ]
    return made + (
        [{"role": "tool", "tool_call_id": identity, "content": json.dumps(result)}] if result is not None else []
    )


def found(
    pack: Pack, *messages: dict, outcome: str = "unknown", feedback: float | None = None, tools: list | None = None,
    rules: Rules | None = None, **columns,
) -> dict | None:  # fmt: skip
    offered = tools or pack.tools
    row = {
        "trace_id": "t", "messages": canonical_json(list(messages)), "tools_sha256": "x", "adapter_id": "base", "metadata": "{}",
        "outcome_status": outcome, "feedback_score": feedback, "principal_ref": None, "tenant_id": None, "reward": None,
        "expected_actions": None, **columns,
    }  # fmt: skip
    return Triage({"x": canonical_json(offered)}, rules or Rules(pack.tools)).one(row)


LOST = {"error": "ORDER_NOT_FOUND"}


@pytest.mark.parametrize(
    "messages",
    [
        [user("where is A1?"), *call("get_order", {"status": "shipped"}, order_id="A1"), said("Order A1 is shipped.")],
        [user("poem"), said("I can only help with Acme orders.")],
        [user("A1?"), *call("get_order", LOST, order_id="A1"), said("Could you give me the e-mail address?"), user("a@b.c"),
         *call("list_orders", {"orders": ["A2"]}, email="a@b.c"), said("Your orders: A2.")],
        [user("A1?"), *call("get_order", {"error": "RATE_LIMITED"}, order_id="A1"), *call("get_order", {"status": "x"}, order_id="A1"), said("x")],
        [user("cancel"), said("Could you give me the order number?"), user("A1"), *call("cancel_order", {"error": "ALREADY_SHIPPED"},
         order_id="A1", reason="other"), said("Order A1 is already shipped, so I cannot change it.")],
    ],
)  # fmt: skip
def test_right_runs_are_not_flagged(pack: Pack, messages: list[dict]):
    assert found(pack, *messages, feedback=1.0) is None


@pytest.mark.parametrize(
    ("messages", "bucket", "sub_kind", "index"),
    [
        ([user("A1?"), *call("get_order", order_id=5)], "schema_violation", "wrong_type", 1),
        ([user("A1?"), *call("find_order", order_id="A1")], "schema_violation", "unknown_tool", 1),
        ([user("A1?"), said('<tool_call>{"name": "get_order", oops')], "schema_violation", "unparsed_call", 1),
        ([user("A1?"), *call("get_order", LOST, order_id="A1"), *call("get_order", LOST, order_id="A1"), said("Sorry, which order?")],
         "bad_recovery", "repeated_identical_call", 3),
        ([user("cancel A1"), *call("cancel_order", LOST, order_id="A1", reason="other"), said("Done, order A1 has been cancelled.")],
         "bad_recovery", "false_success_claim", 3),
        ([user("A1?"), *call("get_order", LOST, order_id="A1"), said("Order A1 is on its way.")], "bad_recovery", "unresolved", 3),
        ([user("A1?"), *call("get_order", LOST, order_id="A1")], "premature_termination", "gave_up", 1),
        ([user("A1?"), said("We value you."), user("No, that did not help."), said("Goodbye.")], "wrong_tool_selection", "missing_call", 1),
        ([user("A1?"), *call("get_order", {"status": "x"}, order_id="A2"), said("x"), user("wrong, read again"), said("ok")],
         "wrong_arguments", "user_objected", 1),
    ],
)  # fmt: skip
def test_each_failure_has_its_bucket_on_its_step(
    pack: Pack, messages: list[dict], bucket: str, sub_kind: str, index: int
):
    failure = found(pack, *messages)
    assert failure is not None
    assert (failure["bucket"], failure["sub_kind"], failure["message_index"], failure["fault"]) == (
        bucket,
        sub_kind,
        index,
        "agent",
    )
    assert json.loads(failure["evidence"])


def test_a_tool_that_may_not_come_first_is_a_critical_policy_violation(pack: Pack):
    tools = [
        {**tool, "x-forbidden-without": ["get_order"]} if tool["function"]["name"] == "refund_order" else tool
        for tool in pack.tools
    ]
    refund = call("refund_order", {"refunded": 5}, order_id="A1", reason="late")
    failure = found(pack, user("refund A1"), *refund, said("Order A1 is refunded: 5."), tools=tools)
    assert failure and (failure["bucket"], failure["severity"]) == ("policy_violation", "critical")
    looked = call("get_order", {"status": "delivered"}, order_id="A1")
    assert found(pack, user("refund A1"), *looked, *refund, said("Order A1 is refunded: 5."), tools=tools) is None


def test_feedback_selects_but_says_that_nothing_is_proven(pack: Pack):
    right = [user("A1?"), *call("get_order", {"status": "shipped"}, order_id="A1"), said("Order A1 is shipped.")]
    failure = found(pack, *right, feedback=-1.0)
    assert failure and failure["fault"] == "inconclusive"


def test_the_environment_is_blamed_for_a_rate_limit_that_ended_the_run(pack: Pack):
    failure = found(pack, user("A1?"), *call("get_order", {"error": "RATE_LIMITED"}, order_id="A1"))
    assert failure and (failure["fault"], failure["bucket"]) == ("environment", "infra_error")


def test_the_earliest_step_wins_and_all_tags_are_kept(pack: Pack):
    failure = found(
        pack, user("A1?"), said("hm"), user("no, wrong"), *call("get_order", order_id=5), outcome="abandoned"
    )
    assert failure and failure["bucket"] == "wrong_tool_selection"
    assert json.loads(failure["tags"]) == ["premature_termination", "schema_violation", "wrong_tool_selection"]


def test_clusters_share_a_name_whatever_the_values():
    assert cluster_name("t", "b", "not_in_enum at reason 5 'x'") == cluster_name(
        "t", "b", "not_in_enum at reason 77 'y'"
    )
