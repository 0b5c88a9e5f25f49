"""A sample of any logs: bounded, and never silent about what it could not read."""

import json
import time
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.traces.sample import sample

RUN = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def call(number: int, said: str) -> dict:
    request = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
    return {"request": request, "response": {"id": f"r{number}", "choices": [{"message": {"role": "assistant", "content": said}}]},
            "timestamp": 1_767_600_000 + number}  # fmt: skip


def lines(file: Path, records: list) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_files_of_several_formats_are_sampled_evenly(tmp_path: Path):
    lines(tmp_path / "a.jsonl", [{"id": f"a{n}", **RUN} for n in range(50)])
    lines(tmp_path / "b.jsonl", [{"id": f"b{n}", **RUN} for n in range(50)])
    lines(tmp_path / "calls.jsonl", [call(n, "yes") for n in range(5)])
    read = sample(tmp_path, runs=30)
    assert read.files == {"a.jsonl": 10, "b.jsonl": 10, "calls.jsonl": 5} and not read.whole
    assert len(read.runs) == 25 and read.formats == {"messages": 2, "chat_completions": 1}
    assert sample(tmp_path, runs=300).whole


def test_a_list_of_tools_among_the_logs_is_pointed_out(tmp_path: Path):
    lines(tmp_path / "a.jsonl", [{"id": "a", **RUN}])
    (tmp_path / "tools.json").write_text(
        json.dumps([{"type": "function", "function": {"name": "f", "parameters": {}}}])
    )
    assert sample(tmp_path).tool_lists == {"tools.json"}


def test_of_an_enormous_file_only_the_beginning_is_read(tmp_path: Path):
    record = json.dumps({"id": "x", "messages": RUN["messages"], "pad": "x" * 100_000}) + "\n"
    (tmp_path / "big.jsonl").write_text(record * 500)  # 50 MB
    started = time.monotonic()
    read = sample(tmp_path / "big.jsonl", runs=20)
    assert read.files == {"big.jsonl": 20} and not read.whole and time.monotonic() - started < 2


def test_an_endless_line_is_refused_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flywheel.traces.records.LINE_LIMIT", 1_000_000)
    (tmp_path / "log.jsonl").write_bytes(json.dumps({"id": "x", **RUN}).encode() + b'\n{"id": "' + b"y" * 1_500_000)
    read = sample(tmp_path / "log.jsonl")
    assert len(read.runs) == 1 and any(reason.startswith("too_long") for reason, _ in read.refused)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "what lies there: nothing"),
        ({"a.pdf": "x", "b.pdf": "x", "c.csv": "x", "README": "x"}, "2 .pdf"),
        ({"a.json": '{"name": "web", "version": "1"}'}, "missing_messages"),
        ({"a.jsonl": ""}, "they are empty"),
        ({"a.jsonl": '{"id": "1", "messages": [{"role": "user", "content": "hi"}]}\n'}, "no_assistant_step"),
        ({"a.jsonl": "not json\nat all\n"}, "invalid_json"),
    ],
)
def test_where_nothing_can_be_read_the_error_says_what_lies_there(tmp_path: Path, files: dict[str, str], said: str):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FlywheelError) as caught:
        sample(tmp_path)
    assert said in caught.value.what and caught.value.remedy


def test_one_file_is_read_without_walking_the_folder_it_lies_in(tmp_path: Path):
    lines(tmp_path / "other.jsonl", [{"id": "o", **RUN}])
    (tmp_path / "loop").symlink_to(tmp_path)
    read = sample(lines(tmp_path / "mine.jsonl", [{"id": "m", **RUN}, {"broken": 1}]))
    assert [run.source_id for run in read.runs] == ["m"] and sum(read.refused.values()) == 1
    with pytest.raises(FlywheelError, match="there is no such file"):
        sample(tmp_path / "ghost.jsonl")
    (tmp_path / "run.log").write_text("x")
    with pytest.raises(FlywheelError, match=r"what lies there: 1 \.log"):
        sample(tmp_path / "run.log")
