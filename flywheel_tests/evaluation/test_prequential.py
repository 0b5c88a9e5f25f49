"""Production steps as cases, who is asked them, and that nobody is asked what they may have learned."""

import dataclasses
import json
from typing import Any

import polars as pl
import pytest

from flywheel.benchmark.matchers import match_arguments
from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation.prequential import Trained, never_seen, trained_before, who_is_asked, with_origin
from flywheel.evaluation.production_steps import RANDOM_SLICE, SELECTED, ProductionStep, WeekOfSteps, production_steps
from flywheel.lake import TABLES, Lake
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack
from flywheel_tests.report.synthetic import row

BEFORE, WEEK, AFTER = "2026-01-05", "2026-01-12", "2026-01-19"
SYSTEM, USER = {"role": "system", "content": "You open doors."}, {"role": "user", "content": "open the red door"}


def call(name: str = "open_door", **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}


def item(number: int, right: dict[str, Any], door: Pack, **values: Any) -> dict[str, Any]:
    return {
        "item_id": f"i{number}", "correction_id": f"c{number}", "trace_id": f"t{number}", "conversation_id": f"talk{number}",
        "near_duplicate_group": f"g{number}", "failure_cluster": "open_door · wrong_arguments", "bucket": "wrong_arguments",
        "first_bad_message_index": 2, "message_index": 2, "messages": json.dumps([SYSTEM, USER, right]),
        "tools": json.dumps(door.tools), **values,
    }  # fmt: skip


def _schema(table: str) -> dict[str, Any]:
    return {name: kind for name, kind in TABLES[table].polars_schema().items() if name not in ("week", "workflow")}


def week_of(corrected: list[dict], items: list[dict] = [], **values: Any) -> WeekOfSteps:  # noqa: B006
    named = (("corrected_traces", corrected), ("correction_batch", items))
    tables = [pl.DataFrame([row(name, **one) for one in rows], schema=_schema(name)) for name, rows in named]
    made_by = {one["trace_id"]: "a0" for one in [*corrected, *items]}
    return WeekOfSteps(tables[0], tables[1], **{"confirmed": set(), "conflicts": set(), "made_by": made_by, **values})


def test_a_corrected_step_becomes_a_case_of_its_own_history(door: Pack, renderer: Renderer):
    (step,), left_out = production_steps(week_of([item(1, call(door="red"), door)]), door, renderer)
    assert step.case.messages == [USER] and step.case.slice == SELECTED and not left_out
    assert step.case.expectation.model_dump()["calls"][0]["arguments"] == {"door": {"exact": "red"}}
    assert (step.case.cluster, step.case.category, step.case.tools, step.made_by, step.answer) == (
        "g1",
        "tool_calling",
        None,
        "a0",
        "corrected",
    )


def test_a_structured_answer_is_asked_field_by_field(door: Pack, renderer: Renderer):
    schema = {"type": "object", "properties": {"state": {"enum": ["open", "shut"]}}, "required": ["state"]}
    pack = dataclasses.replace(door, responses=(ResponseSchema("door", schema),))
    told = [{"role": "assistant", "content": text} for text in ('{"state": "open"}', "It is open.")]
    steps, _ = production_steps(week_of([item(n, right, door) for n, right in enumerate(told, 1)]), pack, renderer)
    assert [step.case.expectation.kind for step in steps] == ["answer", "reply"], "what is no such answer is words"
    assert steps[0].case.expectation.model_dump()["fields"] == {"state": {"exact": "open"}}


def test_a_run_found_right_expects_what_it_did_and_the_slice_keeps_its_name(door: Pack, renderer: Renderer):
    right = item(2, call(door="blue"), door, failure_cluster="unflagged", bucket="unflagged")
    (step,), _ = production_steps(week_of([], [right], confirmed={"i2"}), door, renderer)
    assert (step.case.slice, step.answer, step.case.exercises.buckets) == (RANDOM_SLICE, "confirmed", [])
    assert production_steps(week_of([], [right]), door, renderer)[0] == [], "what nobody confirmed has no right answer"


def test_what_is_no_step_of_the_week_is_counted(door: Pack, renderer: Renderer):
    rows = [
        item(1, call(door="red"), door),
        item(2, call(door="red"), door),
        item(3, {"role": "assistant", "content": "ok"}, door, tools="[]"),
    ]
    found, left_out = production_steps(week_of(rows, conflicts={"i1"}, made_by={"t1": "a", "t3": "a"}), door, renderer)
    assert found == [] and left_out == {"not a run of this week": 2, "cannot be asked": 1}


def test_other_tools_stay_the_runs_own_and_composed_texts_are_not_judged(door: Pack, renderer: Renderer):
    tool = {
        "type": "function",
        "function": {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}},
    }
    rows = [
        item(1, call("note", text="a long text that nobody said", door="the red door"), door, tools=json.dumps([tool]))
    ]
    (step,), _ = production_steps(week_of(rows), door, renderer)
    expected = step.case.expectation.model_dump()["calls"][0]["arguments"]
    assert step.case.tools == [tool] and "ignore" in expected["text"] and expected["door"] == {"exact": "the red door"}
    assert not match_arguments(expected, {"text": "something else", "door": "the red door"})


def test_a_history_that_no_server_would_take_is_not_asked(door: Pack, renderer: Renderer):
    broken = {
        **call(),
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "open_door", "arguments": "{door: red"}}],
    }
    answered = [SYSTEM, USER, broken, {"role": "tool", "tool_call_id": "c", "content": "?"}, call(door="red")]
    endless = [SYSTEM, {"role": "user", "content": "open the red door and then " * 500}, call(door="red")]
    rows = [
        item(1, {}, door, messages=json.dumps(answered), first_bad_message_index=4),
        item(2, {}, door, messages=json.dumps(endless)),
    ]
    assert production_steps(week_of(rows), door, renderer) == ([], {"cannot be asked": 2})


def judged(lake: Lake, checkpoints: dict[str, str], decided: dict[str, tuple[str, str]] = {}) -> None:  # noqa: B006
    for week, adapter in checkpoints.items():
        lake.replace_partition("checkpoint", [row("checkpoint", adapter_id=adapter)], workflow="door", week=week)
    for week, (candidate, incumbent) in decided.items():
        one = row("promotion", decision_id=week, candidate_adapter_id=candidate, incumbent_adapter_id=incumbent)
        lake.replace_partition("promotion", [one], workflow="door", week=week)


def test_who_is_asked_was_made_before(lake: Lake):
    judged(lake, {BEFORE: "a1", WEEK: "a2"}, {BEFORE: ("a1", "base")})
    promoted, rejected = who_is_asked(lake, "door", WEEK, "a1"), who_is_asked(lake, "door", WEEK, "base")
    assert [(arm.name, arm.adapter_id) for arm in promoted.arms] == [("checkpoint", "a1"), ("incumbent", "base")]
    assert rejected == promoted and promoted.trained_in == {"checkpoint": BEFORE, "incumbent": None}
    assert [arm.name for arm in who_is_asked(lake, "door", WEEK, "a0").arms] == ["checkpoint", "incumbent", "served"]
    assert who_is_asked(lake, "door", BEFORE, "base").arms == [], "nothing was trained in the week before"
    with pytest.raises(FlywheelError, match="a2 was trained in week 2026-01-12: it may have learned"):
        who_is_asked(lake, "door", WEEK, "a2")


def test_an_endpoint_is_not_asked_productions_steps(lake: Lake):
    first = "endpoint:large-1@api.example.com"
    judged(lake, {BEFORE: "a1"}, {BEFORE: ("a1", first)})
    who = who_is_asked(lake, "door", WEEK, first)
    assert [arm.name for arm in who.arms] == ["checkpoint"] and who.spared == [first]


def test_nothing_is_asked_that_an_earlier_dataset_held(lake: Lake, door: Pack, renderer: Renderer):
    steps, _ = production_steps(week_of([item(n, call(door="red"), door, messages=json.dumps([SYSTEM, {"role": "user", "content": f"open {n}"}, call(door="red")]))
                                         for n in range(5)]), door, renderer)  # fmt: skip

    def dataset(week: str, *rows: dict[str, Any], table: str = "sft_dataset") -> None:
        made = [row(table, row_id=str(n), **{"messages": "[]", **one}) for n, one in enumerate(rows)]
        lake.replace_partition(table, made, workflow="door", week=week)

    dataset(
        BEFORE,
        {"trace_id": "t0"},
        {"conversation_id": "talk1"},
        {"messages": json.dumps([SYSTEM, {"role": "user", "content": "open 2"}])},
    )
    dataset(BEFORE, {"trace_id": "t3"}, table="preference_dataset")
    dataset(WEEK, {"trace_id": "t4"}, {"messages": json.dumps([{"role": "user", "content": "open 4"}])})
    kept, left_out = never_seen(steps, trained_before(lake, "door", WEEK, {"checkpoint": BEFORE, "incumbent": None}))
    assert [step.trace_id for step in kept] == ["t4"], "the week's own dataset comes after it, and takes nothing away"
    assert left_out == {"its run trained already": 3, "the same history trained already": 1}
    later = trained_before(lake, "door", AFTER, {"checkpoint": WEEK})
    assert [step.trace_id for step in never_seen(steps, later)[0]] == ["t2"], (
        "of histories, the adapter's own dataset counts"
    )


def test_rows_say_where_they_come_from_under_one_digest(door: Pack, renderer: Renderer):
    (step,), _ = production_steps(week_of([item(1, call(door="red"), door)]), door, renderer)
    (made,) = with_origin(
        [{"case_id": step.case.id, "arm": "checkpoint", "success": True, DIGEST: "old"}], [step], {"checkpoint": BEFORE}
    )
    assert (made["trace_id"], made["checkpoint_week"], made["made_by"]) == ("t1", BEFORE, "a0")
    assert made[DIGEST] == row_sha256(made) != row_sha256({**made, "trace_id": "t2"})


def test_nothing_known_leaves_everything(door: Pack, renderer: Renderer):
    steps: list[ProductionStep] = production_steps(week_of([item(1, call(door="red"), door)]), door, renderer)[0]
    assert never_seen(steps, Trained((), (), ())) == (steps, {})
