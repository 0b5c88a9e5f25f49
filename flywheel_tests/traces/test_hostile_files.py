"""Files that mean harm or are just too much: bounded, said, and nothing beside them lost."""

import gzip
import json
from pathlib import Path

import pytest

from flywheel.lake import Lake
from flywheel.traces import records
from flywheel_tests.traces.test_inbox import WEEK, account, line, read, write


def reasons(reading) -> list[str]:
    return sorted(row["reason_code"] for row in reading.quarantined[WEEK])


def test_a_gzip_bomb_is_stopped_and_what_came_before_it_is_kept(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "_EXPANSION_FREE", 1_000_000)
    (tmp_path / "in").mkdir()
    bomb = gzip.compress(json.dumps(line(1)).encode() + b"\n" + b" " * 30_000_000)
    (tmp_path / "in" / "a.jsonl.gz").write_bytes(bomb)
    write(tmp_path / "in", line(2), name="b.jsonl")
    reading = read(tmp_path / "in", lake)
    assert reasons(reading) == ["compression_bomb"] and account(reading) == (3, 2, 0, 1)


def test_a_record_past_the_limit_is_refused_without_being_held(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    assert records.LINE_LIMIT == 50_000_000
    monkeypatch.setattr(records, "LINE_LIMIT", 400_000)
    write(tmp_path / "in", line(1), json.dumps(line(9, padding="x" * 900_000)), line(2))
    reading = read(tmp_path / "in", lake)
    assert reasons(reading) == ["too_long"] and account(reading) == (3, 2, 0, 1)
    (row,) = reading.quarantined[WEEK]
    assert len(row["line"]) <= 2_000


# Each looks like a document at first, so that the file is taken in as a whole up to the limit.
BEGINNINGS = {
    "[]": ["not_an_object"], '[{"id": "x"}]': ["not_an_object"], "[": ["invalid_json"], "{bad}": ["invalid_json"], "": [],
    '{"id":\n"x"}': ["invalid_json"] * 2, "[]" + " " * 5_000: ["not_an_object"], '{"id":\n"x"}' + "\n" * 5_000: ["invalid_json"] * 2,
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("first", BEGINNINGS)
def test_behind_a_line_that_is_no_run_nothing_is_lost_however_long_the_file_is(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, first: str, packed: bool
):
    assert records.DOCUMENT_LIMIT == 512_000_000
    monkeypatch.setattr(records, "DOCUMENT_LIMIT", 3_000)
    monkeypatch.setattr(records, "_BLOCK", 1_000)
    write(tmp_path / "in", first, *(line(number) for number in range(20)))
    if packed:
        file = tmp_path / "in" / "a.jsonl"
        file.with_suffix(".jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    reading = read(tmp_path / "in", lake)
    refused = BEGINNINGS[first]
    assert reasons(reading) == refused and account(reading) == (20 + len(refused), 20, 0, len(refused))


def test_a_name_that_leads_out_of_the_inbox_is_not_followed(tmp_path: Path, lake: Lake):
    (tmp_path / "secret.jsonl").write_text(json.dumps(line(9)) + "\n")
    write(tmp_path / "in", line(1))
    (tmp_path / "in" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    reading = read(tmp_path / "in", lake)
    assert reasons(reading) == ["outside_inbox"] and account(reading) == (2, 1, 0, 1)


def test_files_being_written_and_hidden_ones_are_left_alone(tmp_path: Path, lake: Lake):
    write(tmp_path / "in", line(1))
    for name in (".a.jsonl", "b.jsonl.partial", "notes.txt"):
        write(tmp_path / "in", line(9), name=name)
    assert account(read(tmp_path / "in", lake)) == (1, 1, 0, 0)


def test_great_integers_and_escapes_are_stored_as_they_came(tmp_path: Path, lake: Lake):
    said = "\x1b[31mred\x1b[0m <script>alert(1)</script> \u202e"
    arguments = json.dumps({"n": 2**70})
    call = {"id": "c", "type": "function", "function": {"name": "t", "arguments": arguments}}
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    write(tmp_path / "in", line(1, messages=messages, big=2**70))
    (row,) = read(tmp_path / "in", lake).traces[WEEK]
    kept = json.loads(row["messages"])
    assert kept[0]["content"] == said and kept[1]["tool_calls"][0]["function"]["arguments"] == arguments
    assert json.loads(row["metadata"])["big"] == 2**70


def test_arguments_nested_ten_thousand_deep_are_a_failure_not_a_crash(tmp_path: Path, lake: Lake):
    call = {"id": "c", "type": "function", "function": {"name": "t", "arguments": '{"a":' * 10_000}}
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    write(tmp_path / "in", line(1, messages=messages), json.dumps(line(2)).replace('"ok"', "[" * 10_000 + "]" * 10_000))
    reading = read(tmp_path / "in", lake)
    assert account(reading)[0] == 2 and len(reading.traces[WEEK]) >= 1
