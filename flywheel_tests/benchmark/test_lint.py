"""The lint finds what is planted, each by its rule, and leaves the shipped benchmark without an error."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.benchmark.cases import Case
from flywheel.benchmark.lint.balance import balance_findings, discordance, power_table
from flywheel.benchmark.lint.run import lint, lint_cases, refuse_errors
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.workflows.pack import Pack

WORLD = {"seed": 1, "overrides": {"orders": {"R1": {"email": "a@b.c", "status": "processing", "amount": 5.0, "tracking_number": "T1",
                                                    "place": "p", "address": {}}}}}  # fmt: skip


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def called(name: str, arguments: dict, answer: str | None = "{}", call_id: str = "c") -> list[dict]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    made = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [made] if answer is None else [made, {"role": "tool", "tool_call_id": call_id, "content": answer}]


def call(name: str, arguments: dict[str, Any]) -> dict:
    return {"kind": "call", "calls": [{"name": name, "arguments": arguments}]}


def reply(*groups: list[str], excludes: tuple[str, ...] = ()) -> dict:
    return {"kind": "reply", "includes": list(groups), "excludes": list(excludes)}


def episode(actions: list[tuple[str, dict]], outputs: tuple[str, ...] = ("done",), **more: Any) -> dict:
    made = [{"name": name, "arguments": arguments} for name, arguments in actions]
    return {"kind": "episode", "environment": WORLD, "actions": made, "outputs": list(outputs), **more}


def case(
    expectation: dict, messages: list[dict] | None = None, name: str = "a", cluster: str = "c", **more: Any
) -> Case:
    category = more.pop("category", "multi_step")
    return Case.model_validate({"id": name, "cluster": cluster, "category": category, "exercises": {"buckets": [], "tools": []},
                                "messages": messages or [user("please help me with my order")], "expectation": expectation, **more})  # fmt: skip


def rules(pack: Pack, *cases: Case, level: str = "error") -> set[str]:
    return {finding.rule for finding in lint_cases(cases, pack) if finding.level == level and finding.case_id}


CANCEL = {"order_id": {"exact": "R1"}, "reason": {"exact": "other"}}
GOOD = [
    call("cancel_order", CANCEL), call("get_order", {"order_id": {"regex": "R\\d"}}), call("cancel_order", {**CANCEL, "reason": {"casefold": "OTHER"}}),
    call("cancel_order", {**CANCEL, "reason": {"regex": "oth.*"}}), call("list_orders", {"email": {"exact": "a"}, "page": {"exact": 1, "may_omit": True}}),
    call("get_order", {"order_id": {"ignore": "any order does"}}), reply(["no", "sorry"], excludes=("yes",)), reply(),
    episode([("cancel_order", {"order_id": "R1", "reason": "other"})]), episode([("get_order", {"order_id": "R1"})], ("R1",)),
    call("get_order", {"order_id": {"regex": "R.+"}}), call("get_order", {"order_id": {"regex": "\\S+"}}),
]  # fmt: skip
BAD = [
    ("unsatisfiable_call", call("cancel_order", {"order_id": {"exact": "R1"}})),
    ("unsatisfiable_call", call("cancel_order", {**CANCEL, "reason": {"exact": "boredom"}})),
    ("unsatisfiable_call", call("cancel_order", {**CANCEL, "reason": {"one_of": ["x", "y"]}})),
    ("unsatisfiable_call", call("cancel_order", {**CANCEL, "why": {"exact": "x"}})),
    ("unsatisfiable_call", call("list_orders", {"email": {"set": ["a"]}})),
    ("unsatisfiable_call", call("list_orders", {"email": {"exact": "a"}, "page": {"regex": "\\d"}})),
    ("unsatisfiable_call", call("update_address", {"order_id": {"exact": "R1"}, "address": {"exact": {"street": "s"}}})),
    ("matches_everything", call("get_order", {"order_id": {"ignore": True}})),
    ("matches_everything", call("get_order", {"order_id": {"regex": "(.|\\n)*"}})),
    ("matches_everything", call("cancel_order", {**CANCEL, "reason": {"one_of": ["other", "changed_mind", "too_slow", "found_cheaper"]}})),
    ("matches_everything", call("get_order", {"order_id": {"regex": ".+"}})),
    ("matches_everything", call("get_order", {"order_id": {"regex": "\\S.*"}})),
    ("matches_everything", call("cancel_order", {**CANCEL, "reason": {"regex": "[a-z_]+"}})),
    ("matches_everything", reply([" "])),
    ("matches_everything", episode([], ("",))),
    ("unreachable_reply", reply([])),
    ("unreachable_reply", reply(["is cancelled", "Cancelled now"], excludes=("cancelled",))),
    ("unreachable_reply", reply(["x"], excludes=("",))),
    ("too_long", reply(["word " * 400])),
    ("too_long", call("get_order", {"order_id": {"exact": "R" * 2_000}})),
    ("too_long", episode([("cancel_order", {"order_id": "R1", "reason": "other"})], replies=["a", "b"], max_steps=3)),
    ("gold_action_fails", episode([("cancel_order", {"order_id": "R2", "reason": "other"})])),
    ("gold_action_fails", episode([("cancel_order", {"order_id": "R1", "reason": "boredom"})])),
    ("gold_action_fails", {**episode([]), "environment": {"seed": 1, "overrides": {"orders": {"R1": {}}}},
                           "actions": [{"name": "track_shipment", "arguments": {"tracking_number": "Q"}}]}),
]  # fmt: skip


@pytest.mark.parametrize("expectation", GOOD)
def test_a_sound_case_has_no_error(pack: Pack, expectation: dict):
    assert rules(pack, case(expectation)) == set()


@pytest.mark.parametrize(("rule", "expectation"), BAD)
def test_what_cannot_be_right_is_found(pack: Pack, rule: str, expectation: dict):
    assert rule in rules(pack, case(expectation))


@pytest.mark.parametrize(
    ("schema", "matcher", "found"),
    [
        ({"type": "boolean"}, {"one_of": [True, False]}, True),
        ({"type": "boolean"}, {"one_of": [False, True]}, True),
        ({"type": "boolean"}, {"one_of": [True]}, False),
        ({"type": "boolean"}, {"exact": False}, False),
        ({"type": "boolean", "enum": [True]}, {"exact": True}, False),
        ({"enum": ["A", "a"]}, {"casefold": "a"}, True),
        ({"enum": ["only"]}, {"regex": "on.*"}, False),
        ({"type": "string"}, {"one_of": ["a", "b"]}, False),
    ],
)
def test_a_boolean_is_an_enumeration_of_two(pack: Pack, schema: dict, matcher: dict, found: bool):
    parameters = {"type": "object", "properties": {"gift": schema}, "required": ["gift"]}
    tool = {"type": "function", "function": {"name": "wrap", "description": "d", "parameters": parameters}}
    asked = case(call("wrap", {"gift": matcher}), tools=[tool])
    assert rules(pack, asked) == ({"matches_everything"} if found else set())
    assert ("judged_by_name" in rules(pack, asked, level="warning")) is found


def test_a_tool_may_answer_with_an_empty_text(pack: Pack):
    """As scratchpads and acknowledgements do: such a run can become a case."""
    messages = [user("x"), *called("get_order", {}, "")]
    assert not [one for one in lint_cases([case(reply(["x"]), messages)], pack) if one.rule == "history"]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "system", "content": "s"}, user("x")], "system.md"), ([user("x"), {"role": "assistant", "content": "y"}], "ends with the assistant"),
        ([user("x"), *called("get_order", {}, None)], "not answered"), ([user("x"), *called("get_order", {}, None), user("y")], "before call"),
        ([user("x"), {"role": "tool", "tool_call_id": "z", "content": "{}"}], "nobody made"), ([user("")], "says nothing"),
        ([{"role": "user", "content": [{"type": "text"}]}], "no text"), ([{"role": "robot", "content": "x"}], "role"),
        ([user("x"), {"role": "assistant", "tool_calls": [{"id": "c"}]}], "function.name"), ([user("x"), {"role": "assistant", "tool_calls": 5}], "list"),
    ],
)  # fmt: skip
def test_a_history_that_is_no_conversation_is_found_before_anything_reads_it(pack: Pack, messages: list, said: str):
    (finding,) = [one for one in lint_cases([case(reply(["x"]), messages)], pack) if one.case_id]
    assert finding.rule == "history" and said in finding.message


def test_contradictions_doubles_and_overlaps(pack: Pack):
    one = case(reply(["no"]), [user("cancel  my order"), *called("get_order", {"order_id": "R1"})])
    spaced = [user("cancel my order"), *called("get_order", {"order_id": "R1"}, call_id="other")]
    assert rules(pack, one, case(call("cancel_order", CANCEL), spaced, "b", "d")) == {"ambiguous"}
    assert rules(pack, one, case(reply(["no"]), spaced, "b"), level="warning") == {"duplicate"}
    longer = [*one.messages, {"role": "assistant", "content": "no"}, user("and now?")]
    assert rules(pack, one, case(reply(["sorry"]), longer, "b", "d"), level="warning") == {"overlap"}
    assert rules(pack, one, case(reply(["sorry"]), longer, "b"), level="warning") == set(), "one cluster is one answer"
    origins = [{"trace_id": f"t{n}", "conversations": [f"k{n}", "shared"]} for n in range(2)]
    pair = [case(reply(["x"]), [user(f"text {n}")], f"r{n}", f"c{n}", origin=origins[n]) for n in range(2)]
    assert rules(pack, *pair) == {"overlap"}
    told = "I would like to know where my order {} is right now, it has been two weeks since I paid for it"
    near = [
        case(call("get_order", {"order_id": {"exact": o}}), [user(told.format(o))], o.lower(), o) for o in ("R1", "R2")
    ]
    assert rules(pack, *near, level="warning") == {"near_duplicates"}


def test_worlds_tell_episodes_apart_and_what_nobody_can_know_is_said(pack: Pack):
    act = [("cancel_order", {"order_id": "R1", "reason": "other"})]
    other = {**episode(act), "environment": {**WORLD, "seed": 2}}
    assert rules(pack, case(episode(act)), case(other, name="b")) == set()
    assert rules(pack, case(episode(act)), case(episode(act, ("sorry",)), name="b")) == {"ambiguous"}
    assert rules(pack, case(episode(act, ("R77",))), level="warning") == {"unknowable_output"}
    assert rules(pack, case(episode([], ())), level="warning") == {"nothing_to_reach"}
    assert rules(pack, case(episode([], ()), category="refusal"), level="warning") == set()
    writes = [("update_address", {"order_id": "R1", "address": {"street": "1", "city": "2", "zip": "3"}})] * 2
    assert rules(pack, case(episode(writes, max_steps=2)), level="warning") == {"too_long"}


def test_a_world_that_is_never_the_same_or_never_changes(pack: Pack, tmp_path: Path):
    source = "import random\nclass W:\n  def call(self, name, arguments):\n    {}\n  def state(self):\n    return {}\ndef make_environment(seed, overrides=None):\n  return W()\n"
    mine = dataclasses.replace(pack, folder=tmp_path)
    act = episode([("cancel_order", {"order_id": "R1", "reason": "other"})])
    assert rules(mine, case(act)) == {"no_environment"}
    for body, state, rule in (("return '{}'", "{'x': random.random()}", "unstable_environment"), ("return '{}'", "{}", "changes_nothing"),
                              ("raise KeyError('x')", "{}", "environment_fails")):  # fmt: skip
        (tmp_path / "environment.py").write_text(source.replace("{}", body, 1).replace("return {}", f"return {state}"))
        assert rules(mine, case(act)) == {rule}


def test_the_shipped_benchmark_has_no_error_and_its_power_is_told(pack: Pack, lake: Lake):
    cases, findings = lint(pack)
    assert [finding for finding in findings if finding.level == "error"] == []
    table = {row.category: row for row in power_table(cases, discordance(lake, "support_desk").share)}
    assert table["all"].cases == len(cases) and 0.05 < table["all"].detectable < 0.08 < table["recovery"].detectable
    assert (
        all(row.detectable <= row.at_worst for row in table.values())
        and table["all"].detectable < table["all"].at_worst
    )
    alone = power_table([one.model_copy(update={"cluster": one.id}) for one in cases], 0.15)[-1]
    assert alone.clusters == len(cases) and alone.at_worst == pytest.approx(alone.detectable)
    pairs = [one.model_copy(update={"cluster": str(number // 2)}) for number, one in enumerate(cases[:200])]
    assert power_table(pairs, 0.15)[-1].at_worst == pytest.approx(power_table(pairs, 0.15)[-1].detectable * 2**0.5)


def test_discordance_is_taken_from_the_newest_week_that_was_evaluated(lake: Lake):
    blank = dict.fromkeys(TABLES["eval_results"].polars_schema())
    rows = [{**blank, "case_id": f"c{n}", "arm": arm, "epoch": 0, "success": arm == "candidate" or n > 0}
            for n in range(4) for arm in ("candidate", "incumbent")]  # fmt: skip
    rows = [{name: value for name, value in row.items() if name not in ("week", "workflow")} for row in rows]
    lake.replace_partition("eval_results", rows, workflow="desk", week="2026-01-05")
    found = discordance(lake, "desk")
    assert found.share == 0.25 and "1 of 4" in found.source
    assert "assumed" in discordance(lake, "other").source


def test_shares_of_adversarial_cases_and_episodes_and_missing_categories():
    cases = [
        case(reply(["x"]), name=f"n{n}", category="refusal", tags=["adversarial"] if n == 0 else []) for n in range(11)
    ]
    found = {finding.rule for finding in balance_findings(cases)}
    assert found == {"no_cases", "few_adversarial", "few_episodes"}
    assert "few_adversarial" not in {finding.rule for finding in balance_findings(cases[:10])}
    assert {finding.rule for finding in balance_findings([])} == {"no_cases"}


def test_unread_lines_are_errors_and_only_new_cases_are_kept_from_freezing(pack: Pack, tmp_path: Path):
    good = case(reply(["x"])).model_dump_json()
    (tmp_path / "x.jsonl").write_text(good + "\n{\n")
    cases, findings = lint(pack, tmp_path)
    assert len(cases) == 1 and findings[0].rule == "unreadable" and "x.jsonl:2" in findings[0].message
    wrong = lint_cases([case(call("get_order", {}), name="old")], pack)
    assert [finding.rule for finding in refuse_errors(wrong, [])] == ["unsatisfiable_call"]
    with pytest.raises(FlywheelError, match="unsatisfiable_call") as caught:
        refuse_errors(wrong, ["old"])
    assert "benchmark lint" in caught.value.remedy
