"""A line of JSON may hold U+2028, U+2029 and U+0085 as they are: text that people paste does. Half of such a line is nobody's."""

import json
from pathlib import Path

from flywheel.benchmark.forget import forget_cases
from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.datasets.replay import ANSWERS, ReplaySet, read_replay
from flywheel.datasets.teacher import read_tasks, write_rows
from flywheel.datasets.week_zero.prompts import TASKS, forget_prompts
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import said

SAID = "Open the red door\u2028my name is Ann Other\u2029thanks\x85"
USER = {"role": "user", "content": SAID}


def test_demonstrations_tasks_and_replay_are_read_whole(pack: Pack, tmp_path: Path):
    shown = {"conversation_id": "c", "tools": pack.tools, "messages": [USER, said("Opened.")], "annotator_kind": "human", "annotator": "ann",
             "reviewer": "rob", "qa_mode": "two"}  # fmt: skip
    write_rows(
        tmp_path / "demonstrations" / "week_zero.jsonl",
        [shown, {**shown, "conversation_id": "d", "messages": [USER, said("No.")]}],
    )
    assert len(read_demonstrations(tmp_path / "demonstrations")) == 2
    write_rows(tmp_path / TASKS, [{"id": "run-1", "messages": [USER]}, {"id": "mine", "messages": [USER]}])
    assert [task.id for task in read_tasks(tmp_path / TASKS, pack)] == ["run-1", "mine"]
    rows = [{"messages": [USER], "target": said("Yes."), "finish_reason": "stop"}]
    write_rows(tmp_path / ANSWERS, rows)
    manifest = {"answers_sha256": sha256_of(rows), "base": "small", "prompts": "p", "sampled_at": "2026-01-05"}
    assert [step.history for step in read_replay(ReplaySet(tmp_path, manifest))] == [[USER]]


def test_what_an_erased_person_said_is_taken_out_to_its_end(tmp_path: Path):
    tasks, cases = tmp_path / TASKS, tmp_path / "benchmark" / "mine.jsonl"
    write_rows(
        tasks, [{"id": "run-1", "messages": [USER]}, {"id": "mine", "messages": [{"role": "user", "content": "Hello"}]}]
    )
    assert forget_prompts(tasks, ["1"]) == 1
    assert [json.loads(line)["id"] for line in tasks.read_text().splitlines()] == ["mine"]
    write_rows(cases, [{"id": "c1", "messages": [USER], "origin": {"trace_id": "t1", "conversations": []}}])
    assert forget_cases(Lake(tmp_path / "lake"), "door", cases.parent, ["t1"], "tools").case_ids == ["c1"]
    assert cases.read_text() == ""
