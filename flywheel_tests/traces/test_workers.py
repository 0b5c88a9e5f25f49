"""The same tables whichever way the work was cut: one process or two, whole files or byte ranges, one shard or four."""

import json
from pathlib import Path

import pytest

from flywheel.failures.finding import Rules
from flywheel.failures.week import triage_week
from flywheel.lake import Lake
from flywheel.traces import inbox
from flywheel_tests.traces.test_inbox import WEEK, line, read, write


def lay(folder: Path) -> None:
    for name in "abc":
        rows = [line(f"{name}{number}") for number in range(60)]
        write(folder, *rows, "{broken", line("a1"), name=f"{name}.jsonl")


def tables(lake: Lake, **options: int) -> list:
    """Rows of every table the reading and the triage write, without where they were cut."""
    reading = read(lake.root.parent / "in", lake, **options)
    triaged = triage_week(
        lake, workflow="desk", week=WEEK, shards=options.get("shards", 1), workers=options.get("workers", 1), toolsets={}, rules=Rules()
    )  # fmt: skip
    rows = [{**row, "shard": None} for row in reading.traces[WEEK]]
    refused = [(row["source_file"], row["source_line"], row["reason_code"]) for row in reading.quarantined[WEEK]]
    near = lake.read_partition("near_duplicates", workflow="desk", week=WEEK).rows()
    return [rows, refused, reading.ledger, near, triaged.failures, sorted(triaged.opportunities.items(), key=str)]


@pytest.mark.parametrize("options", [{"shards": 4}, {"shards": 4, "workers": 2}])
def test_shards_and_processes_change_nothing(tmp_path: Path, options: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inbox, "RANGE_BYTES", 2_000)
    lay(tmp_path / "in")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "in").symlink_to(tmp_path / "in")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "in").symlink_to(tmp_path / "in")
    whole, cut = Lake(tmp_path / "one" / "lake"), Lake(tmp_path / "two" / "lake")
    first, second = tables(whole), tables(cut, **options)
    # Pseudonyms are keyed by the installation's vault, of which there are two here.
    for rows in (first[0], second[0]):
        for row in rows:
            row["principal_ref"] = None
    for expected, found in zip(first, second, strict=True):
        assert json.dumps(expected, default=str) == json.dumps(found, default=str)
    assert len(first[0]) == 180 and len(first[1]) == 3
