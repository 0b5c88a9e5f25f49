"""Answers from elsewhere: exported requests, checked lines, scored as our own, and cases nobody answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.benchmark.cases import Case
from flywheel.errors import FlywheelError
from flywheel.evaluation.imported import MISSING, answered, requests
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.workflows.pack import Pack

ARM = Arm("reference", "big", "big")


@pytest.fixture
def benchmark(door: Pack, door_cases: list[Case]) -> Benchmark:
    step = next(case for case in door_cases if case.expectation.kind == "call")
    talk = next(case for case in door_cases if case.expectation.kind == "episode" and case.expectation.actions)
    return Benchmark([step, talk], "v1", door)


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "function": {"name": name, "arguments": arguments}}],
    }


def answers(tmp_path: Path, *lines: dict[str, Any] | str) -> Path:
    file = tmp_path / "answers.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def expected(case: Case) -> dict[str, Any]:
    assert case.expectation.kind == "call"
    wanted = case.expectation.calls[0]
    return call(wanted.name, {name: rule["exact"] for name, rule in wanted.arguments.items()})


def test_what_is_to_be_asked_has_the_prompt_the_tools_and_the_case(benchmark: Benchmark):
    step, talk = requests(benchmark)
    assert step["kind"] == "step" and step["messages"][0] == {"role": "system", "content": benchmark.pack.system}
    assert (
        step["messages"][1:] == benchmark.cases[0].messages
        and "x-access" not in step["tools"][0]
        and "expectation" not in step
    )
    assert talk["kind"] == "episode" and talk["max_steps"] >= 1
    shown = benchmark._replace(examples=[{"role": "user", "content": "hello"}])
    assert next(requests(shown))["messages"][1]["content"] == "hello"


def test_answers_are_scored_like_our_own_and_what_is_missing_is_no_failure(benchmark: Benchmark, tmp_path: Path):
    step, talk = benchmark.cases
    rows = answered(answers(tmp_path, {"case_id": step.id, "messages": [expected(step)]}), ARM, benchmark)
    assert [(row["success"], row["infra_error"]) for row in rows] == [(True, None), (None, MISSING)]
    assert rows[0]["schema_valid_calls"] == rows[0]["calls"] == 1 and json.loads(rows[0]["server"]) == {
        "imported": "answers.jsonl"
    }
    wrong = answered(answers(tmp_path, {"case_id": step.id, "messages": [call("open_door", "{")]}), ARM, benchmark)
    assert wrong[0]["success"] is False and wrong[0]["failure_bucket"] == "schema_violation"
    assert talk.expectation.kind == "episode"
    run = [call(action.name, action.arguments) for action in talk.expectation.actions]
    told = [message for step in run for message in (step, {"role": "tool", "tool_call_id": "c1", "content": "ok"})]
    told.append({"role": "assistant", "content": f"It is done. {' '.join(talk.expectation.outputs)}"})
    played = answered(answers(tmp_path, {"case_id": talk.id, "messages": told}), ARM, benchmark)
    assert played[1]["success"] is True, played[1]["failure_reason"]


def test_epochs_are_rows_of_their_own(benchmark: Benchmark, tmp_path: Path):
    step = benchmark.cases[0]
    lines = [{"case_id": step.id, "messages": [expected(step)], "epoch": epoch} for epoch in (0, 2)]
    rows = answered(answers(tmp_path, *lines), ARM, benchmark)
    assert [(row["epoch"], row["success"]) for row in rows if row["case_id"] == step.id] == [
        (0, True),
        (1, None),
        (2, True),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [("{", "not an answer"), ("[1]", "not an answer"), ({"case_id": "nobody", "messages": []}, "there is no case 'nobody'"),
     ({"case_id": "STEP", "messages": []}, "is one step"), ({"case_id": "STEP", "messages": [{"role": "king"}]}, "none of OpenAI's"),
     ({"case_id": "STEP", "messages": [{"role": "assistant", "tool_calls": [{}]}]}, "none of OpenAI's"),
     ({"case_id": "TALK", "messages": [{"role": "user", "content": "hi"}]}, "the assistant says nothing"),
     ({"case_id": "STEP", "messages": [{"role": "assistant", "content": "a"}], "epoch": -1}, "epoch is no number"), ("", "holds no answer"),
     ({"case_id": ["x"], "messages": []}, "there is no case"), ("[" * 50_000, "not an answer")],
)  # fmt: skip
def test_a_wrong_line_is_told_with_its_place_and_nothing_is_taken(
    benchmark: Benchmark, tmp_path: Path, line: Any, said: str
):
    names = {"STEP": benchmark.cases[0].id, "TALK": benchmark.cases[1].id}
    if isinstance(line, dict):
        line = {**line, "case_id": names.get(str(line["case_id"]), line["case_id"])}
    file = answers(tmp_path, line)
    with pytest.raises(FlywheelError, match=said) as told:
        answered(file, ARM, benchmark)
    assert str(file) in str(told.value)
    twice = {"case_id": names["STEP"], "messages": [{"role": "assistant", "content": "a"}]}
    with pytest.raises(FlywheelError, match="answered twice"):
        answered(answers(tmp_path, twice, twice), ARM, benchmark)
