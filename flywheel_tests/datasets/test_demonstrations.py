"""A pack's demonstrations: signed by two people, of the right shape, and told by file and line where they are not."""

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.datasets.demonstrations import read_demonstrations, same_person
from flywheel.datasets.teacher import write_rows
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import called, said

USER = {"role": "user", "content": "open the red door"}
TEACHER = {"source": "teacher", "teacher": {"model": "big"}, "annotator_kind": "model", "annotator": "big at host"}


@pytest.fixture
def shown(pack: Pack) -> dict[str, Any]:
    """One line, written by ann and accepted by rob."""
    return {"conversation_id": "c", "tools": pack.tools, "messages": [USER, called("open_door", door="red")], "annotator_kind": "human",
            "annotator": "ann", "reviewer": "rob", "qa_mode": "two"}  # fmt: skip


def read(folder: Path, *rows: Any) -> list[dict[str, Any]]:
    write_rows(folder / "mine.jsonl", rows)
    return read_demonstrations(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"reviewer": ""}, {"reviewer": "  "}, {"reviewer": None}, {"annotator": " "}, {"annotator": None}, {"reviewer": "ann"},
        {"reviewer": " Ann "}, {"qa_mode": "none"}, {"qa_mode": "banana"}, {"qa_mode": None}, {"qa_mode": "three", "reviewer": ""},
        {"qa_mode": "verifier", "reviewer": ""}, {**TEACHER, "qa_mode": "none", "reviewer": ""}, {**TEACHER, "qa_mode": "sampled", "reviewer": ""},
        {**TEACHER, "qa_mode": "solo", "reviewer": ""},
    ],
    ids=str,
)  # fmt: skip
def test_what_nobody_else_accepted_is_refused_by_its_line(shown: dict[str, Any], tmp_path: Path, changes: dict):
    with pytest.raises(FlywheelError) as told:
        read(tmp_path, shown, {**shown, **changes})
    assert f"{tmp_path / 'mine.jsonl'}:2" in str(told.value)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"qa_mode": "three"}, {"annotator_kind": "simulated", "annotator": "simulated-annotator-1", "reviewer": "simulated-reviewer-1"},
        {"qa_mode": "sampled", "reviewer": ""}, {"qa_mode": "solo", "reviewer": "ann"}, {"qa_mode": "solo", "reviewer": None},
        {**TEACHER, "qa_mode": "verifier", "reviewer": "verifier_gold_actions"}, {**TEACHER, "reviewer": "ann, bob"},
        {"trace_id": "t", "teacher": None, "trains_from": 1, "id": "what else a ledger's row says"},
    ],
    ids=str,
)  # fmt: skip
def test_what_was_accepted_under_a_known_mode_is_read(shown: dict[str, Any], tmp_path: Path, changes: dict):
    (row,) = read(tmp_path, {**shown, **changes})
    assert row["qa_mode"] == changes.get("qa_mode", "two") and row["trains_from"] == changes.get("trains_from", 0)
    assert json.loads(row["messages"]) == shown["messages"] and json.loads(row["tools"]) == shown["tools"]


@pytest.mark.parametrize(
    ("changes", "said_"),
    [
        ({"messages": None}, "messages"), ({"messages": ["x"]}, "messages.0"), ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"), ({"messages": [USER, {"role": "assistant", "content": 5}]}, "messages.1.content"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "messages.1.tool_calls.0.function"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "open_door"}}]}]}, "function.arguments"),
        ({"tools": None}, "tools"), ({"tools": [{"name": "x"}]}, "tools.0.function"), ({"trains_from": "a"}, "trains_from"),
        ({"trains_from": -1}, "trains_from"), ({"teacher": "big"}, "teacher"), ({"principal_ref": 5}, "principal_ref"),
        ({"messages": [USER, called("open_door", door=5)]}, "call of open_door"),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_of_another_shape_is_told_by_field_and_line(
    shown: dict[str, Any], tmp_path: Path, changes: dict, said_: str
):
    with pytest.raises(FlywheelError, match=said_) as told:
        read(tmp_path, {**shown, **changes})
    assert f"{tmp_path / 'mine.jsonl'}:1" in str(told.value)


@pytest.mark.parametrize("line", ["{", "5", "[]", "null", '{"conversation_id": "c"}', "[" * 100_000])
def test_a_line_that_is_no_demonstration_is_told_by_its_number(tmp_path: Path, line: str):
    (tmp_path / "mine.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(FlywheelError, match="mine.jsonl:2"):
        read_demonstrations(tmp_path)


def test_a_number_that_json_does_not_know_is_told_too(shown: dict[str, Any], tmp_path: Path):
    odd = {**shown, "messages": [*shown["messages"], {**said("Done."), "weight": float("nan")}]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(odd))
    with pytest.raises(FlywheelError, match="mine.jsonl:1"):
        read_demonstrations(tmp_path)


def test_spaces_and_case_make_no_second_person():
    assert same_person(" Ann", "ann ") and same_person("GROSS", "groß") and not same_person("ann", "anna")
