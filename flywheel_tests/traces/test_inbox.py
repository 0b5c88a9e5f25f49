"""The inbox: every line is accounted for, whatever stands in it."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.partitions import week_bounds, week_of
from flywheel.privacy.redaction import Policy
from flywheel.traces.inbox import InboxReading, read_inbox, survey
from flywheel.traces.records import Inbox

WEEK = "2026-01-05"


def line(number: int = 0, **changes) -> dict:
    return {
        "id": f"run-{number}", "client_id": "shop", "started_at": "2026-01-06T10:00:00Z", "tools": [],
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], **changes,
    }  # fmt: skip


class Read(NamedTuple):
    """A reading with its rows in memory."""

    reading: InboxReading
    traces: dict[str, list[dict]]
    quarantined: dict[str, list[dict]]
    ledger: list[dict]


def read(inbox: Path | str, lake: Lake, week: str = WEEK, **options) -> Read:
    """Read an inbox for one week into the lake, as the asset does."""
    ledger = lake.read_weeks("inbox_ledger", workflow="desk")
    box = Inbox(str(inbox))
    arguments = {
        "policy": Policy(kinds=()),
        "vault": lake.root.parent / "vault",
        "scratch": lake.root / "_staging",
        **options,
    }
    with read_inbox(
        box, survey(box, week=week, ledger=ledger), week=week, week_start=lambda w: week_bounds(w)[0], workflow="desk",
        known_elsewhere=lambda: lake.read_weeks("near_duplicates", workflow="desk"),
        **arguments,
    ) as reading:  # fmt: skip
        lake.append_new("toolsets", reading.toolsets, workflow="desk")
        lake.replace_partition("inbox_ledger", reading.ledger, workflow="desk")
        lake.replace_partition("production_traces", reading.files, workflow="desk", week=week)
        lake.replace_partition("near_duplicates", reading.near_duplicates, workflow="desk", week=week)
        lake.replace_partition("quarantined_records", reading.quarantined, workflow="desk", week=week)
    rows = lake.read_partition("production_traces", workflow="desk", week=week).to_dicts()
    traces = {week: rows, **{other: [{}] * count for other, count in reading.weeks.items() if other != week}}
    return Read(reading, traces, {week: reading.quarantined}, reading.ledger)


def account(reading: Read) -> tuple[int, int, int, int]:
    return tuple(sum(row[name] for row in reading.ledger) for name in ("read", "accepted", "duplicate", "quarantined"))  # type: ignore[return-value]


def write(inbox: Path, *lines: object, name: str = "a.jsonl", end: str = "\n") -> None:
    inbox.mkdir(exist_ok=True)
    texts = [text if isinstance(text, str) else json.dumps(text) for text in lines]
    (inbox / name).write_text("\n".join(texts) + end)


def test_good_lines_become_rows_of_the_declared_columns(tmp_path: Path, lake: Lake):
    write(tmp_path / "in", line(1), line(2), "", line(1))
    reading = read(tmp_path / "in", lake)
    assert account(reading) == (3, 2, 1, 0)
    assert set(reading.traces[WEEK][0]) == set(TABLES["production_traces"].polars_schema())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "invalid_json"),
        ("5", "not_an_object"),
        ('{"id": "x", "id": "y"}', "repeated_key"),
        ('{"id": "x", "n": NaN}', "invalid_json"),
        ('{"id": "x", "n": 1e999}', "invalid_json"),
        ('{"id": "\\ud800"}', "invalid_json"),
        ("[" * 100_000, "too_deep"),
        (json.dumps({**line(), "id": None}), "missing_id"),
        (json.dumps(line(messages=[])), "missing_messages"),
        (json.dumps(line(messages=[{"role": "user", "content": "x"}])), "no_assistant_step"),
        (
            json.dumps(line(messages=[{"role": "wizard", "content": "x"}, {"role": "assistant", "content": ""}])),
            "unknown_role",
        ),
        (json.dumps(line(messages=[{"role": "assistant", "content": 5}])), "content_not_text"),
        (
            json.dumps(line(messages=[{"role": "assistant"}, {"role": "tool", "tool_call_id": "q"}])),
            "unpaired_tool_result",
        ),
        (json.dumps(line(messages=[{"role": "assistant", "tool_calls": [{"id": "1"}]}])), "malformed_call"),
        (json.dumps(line(tools="none")), "invalid_tools"),
        (json.dumps(line(started_at="yesterday")), "invalid_time"),
        (json.dumps(line(started_at=1e30)), "invalid_time"),
        (json.dumps(line(feedback={"score": 7})), "invalid_feedback"),
    ],
)
def test_each_bad_line_is_quarantined_with_its_reason_and_a_remedy(tmp_path: Path, lake: Lake, text: str, reason: str):
    write(tmp_path / "in", line(1), text, line(2))
    reading = read(tmp_path / "in", lake)
    assert account(reading) == (3, 2, 0, 1)
    (row,) = reading.quarantined[WEEK]
    assert row["reason_code"] == reason and row["remedy"] and row["source_line"] == 2
    lake.replace_partition("quarantined_records", [row], workflow="desk", week=WEEK)


def test_a_half_written_last_line_is_quarantined_until_it_is_whole(tmp_path: Path, lake: Lake):
    text = json.dumps(line(2))
    write(tmp_path / "in", line(1), text[:40], end="")
    reading = read(tmp_path / "in", lake)
    assert reading.quarantined[WEEK][0]["reason_code"] == "truncated_line"
    write(tmp_path / "in", line(1), text)
    assert account(read(tmp_path / "in", lake)) == (2, 2, 0, 0)


def test_invalid_utf8_and_damaged_gzip_are_quarantined(tmp_path: Path, lake: Lake):
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(b'{"id": "\xff"}\n')
    (inbox / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(line(1)).encode())[:-12])
    (inbox / "c.jsonl.gz").write_bytes(gzip.compress(json.dumps(line(2)).encode()))
    reading = read(inbox, lake)
    assert sorted(row["reason_code"] for row in reading.quarantined[WEEK]) == ["damaged_gzip", "invalid_utf8"]
    assert account(reading) == (3, 1, 0, 2)


def test_a_late_run_belongs_to_its_own_week_and_an_undated_one_to_the_week_that_read_it_first(
    tmp_path: Path, lake: Lake
):
    write(
        tmp_path / "in",
        line(1, started_at="2026-01-04T23:59:59Z"),
        line(2, started_at=None),
        line(3, started_at="2026-01-12T00:00:00Z"),
    )
    first = read(tmp_path / "in", lake)
    assert {week: len(rows) for week, rows in first.traces.items()} == {"2025-12-29": 1, WEEK: 1, "2026-01-12": 1}
    assert [row["source_id"] for row in first.traces[WEEK]] == ["run-2"]
    later = read(tmp_path / "in", lake, week="2025-12-29")
    assert [row["source_id"] for row in later.traces["2025-12-29"]] == ["run-1"] and account(later) == (3, 3, 0, 0)
    again = read(tmp_path / "in", lake)
    assert again.traces[WEEK] == first.traces[WEEK], "a later run changes nothing in a week that was read"
    other = read(tmp_path / "in", lake, week="2026-02-02")
    assert other.traces["2026-02-02"] == [] and account(other) == (3, 3, 0, 0), (
        "the file is not read for a week it has nothing of"
    )


def test_re_sent_files_change_nothing(tmp_path: Path, lake: Lake):
    write(tmp_path / "in", line(1), line(2))
    before = read(tmp_path / "in", lake).traces
    write(tmp_path / "in", line(2), line(1), name="b.jsonl")
    again = read(tmp_path / "in", lake)
    assert again.traces == before and account(again) == (4, 2, 2, 0)


def test_a_missing_inbox_names_the_folder(tmp_path: Path, lake: Lake):
    with pytest.raises(FlywheelError, match="make that folder"):
        read(tmp_path / "nowhere", lake)


def test_weeks_start_on_monday_midnight():
    assert week_of(datetime(2026, 1, 11, 23, 59, tzinfo=UTC)) == WEEK
    assert week_of(datetime(2026, 1, 12, tzinfo=UTC)) == "2026-01-12"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
)
ALMOST = st.fixed_dictionaries({"id": st.text() | JSON, "messages": st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "x"]), "content": st.text() | JSON}), max_size=3) | JSON, "tools": st.just([]) | JSON})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60)
        | JSON.map(lambda v: json.dumps(v).encode())
        | ALMOST.map(lambda v: json.dumps(v).encode()),
        max_size=8,
    )
)
def test_read_is_accepted_plus_duplicate_plus_quarantined_for_any_bytes(tmp_path_factory, lines: list[bytes]):
    inbox = tmp_path_factory.mktemp("in")
    lake = Lake(tmp_path_factory.mktemp("lake"))
    (inbox / "a.jsonl").write_bytes(b"\n".join(lines))
    reading = read(inbox, lake)
    total, accepted, duplicate, quarantined = account(reading)
    assert total == accepted + duplicate + quarantined
