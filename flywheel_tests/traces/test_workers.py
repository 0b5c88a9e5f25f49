"""The same tables whichever way the work was cut and whoever did it: whole files or byte ranges, one shard or four, in one process, two, or on Ray."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from flywheel.detectors.finding import Rules
from flywheel.errors import FlywheelError
from flywheel.failures.week import triage_week
from flywheel.lake import Lake
from flywheel.parallel import IN_THIS_PROCESS, Workers
from flywheel.traces import inbox, shards
from flywheel.traces.accounting import settle
from flywheel_tests.traces.test_inbox import WEEK, line, read, write

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{"}}
BROKEN = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


def lay(folder: Path) -> None:
    for name in "abc":
        rows = [line(f"{name}{number}", **({} if number % 5 else {"messages": BROKEN})) for number in range(60)]
        write(folder, *rows, "{broken", line("a1"), name=f"{name}.jsonl")


class Week(NamedTuple):
    """Rows of every table the reading and the triage write, without where they were cut; their content hashes; the files as workers left them."""

    rows: list
    content: list[str]
    staged: dict[str, bytes]


def turn(root: Path, *, number_of_shards: int = 1, workers: Workers = IN_THIS_PROCESS) -> Week:
    lake, staged = Lake(root / "lake"), {}

    def watched(*arguments):
        staged.update(
            {file.name: file.read_bytes() for file in (root / "lake" / "_staging").rglob("*") if file.is_file()}
        )
        return settle(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inbox, "settle", watched)
        # Pseudonyms are keyed by the installation's vault.
        reading = read(root.parent / "in", lake, shards=number_of_shards, workers=workers, vault=root.parent / "vault")
    triaged = triage_week(lake, workflow="desk", week=WEEK, workers=workers, toolsets={}, rules=Rules())
    rows = [{**row, "shard": None} for row in reading.traces[WEEK]]
    refused = [(row["source_file"], row["source_line"], row["reason_code"]) for row in reading.quarantined[WEEK]]
    near = lake.read_partition("near_duplicates", workflow="desk", week=WEEK).rows()
    written = [content_of(lake, table) for table in ("production_traces", "near_duplicates", "quarantined_records")]
    called = sorted(triaged.opportunities.items(), key=str)
    return Week([rows, refused, reading.ledger, near, triaged.failures.rows(), called], written, staged)


def content_of(lake: Lake, table: str) -> str:
    found = lake.lineage(table, workflow="desk", week=WEEK)
    assert found is not None
    return found.content_sha256


WAYS = [
    (4, IN_THIS_PROCESS, 64_000_000),
    (4, Workers(2), 9_000),
    pytest.param(4, Workers(2, "ray"), 2_000, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("number_of_shards", "workers", "range_bytes"), WAYS, ids=["serial", "spawn", "ray"])
def test_shards_and_workers_change_nothing(
    number_of_shards: int, workers: Workers, range_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
):  # fmt: skip
    if workers.executor == "ray":
        request.getfixturevalue("ray")
    lay(tmp_path / "in")
    whole = turn(tmp_path / "whole")
    monkeypatch.setattr(shards, "RANGE_BYTES", range_bytes)
    cut = turn(tmp_path / "cut", number_of_shards=number_of_shards, workers=workers)
    assert cut.content == whole.content
    for expected, found in zip(whole.rows, cut.rows, strict=True):
        assert json.dumps(expected, default=str) == json.dumps(found, default=str)
    assert [len(table) for table in whole.rows] == [180, 3, 3, 180, 36, 2]
    alone = turn(tmp_path / "alone", number_of_shards=number_of_shards)
    assert len(alone.staged) > len(whole.staged) and alone.staged == cut.staged


def test_shards_are_those_the_week_was_written_in(tmp_path: Path):
    lay(tmp_path / "in")
    lake = Lake(tmp_path / "lake")
    read(tmp_path / "in", lake, shards=4)
    assert len(triage_week(lake, workflow="desk", week=WEEK, toolsets={}, rules=Rules()).failures) == 36


def test_rows_that_a_worker_staged_elsewhere_stop_the_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a machine of a cluster does that does not share the lake's folder."""
    lay(tmp_path / "in")

    def lost(*arguments):
        next((tmp_path / "lake" / "_staging").rglob("*.parquet")).unlink()
        return settle(*arguments)

    monkeypatch.setattr(inbox, "settle", lost)
    with pytest.raises(FlywheelError, match="180 runs of the week, and 120") as raised:
        read(tmp_path / "in", Lake(tmp_path / "lake"))
    assert "same paths" in raised.value.remedy and not list((tmp_path / "lake" / "_staging").iterdir())
