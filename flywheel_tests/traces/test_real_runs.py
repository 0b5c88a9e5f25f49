"""The 200 real airline runs, as they come: all are read, fast, and what triage says of them is measured."""

import json
import time
from pathlib import Path

import pytest

from flywheel.detectors.finding import Rules
from flywheel.failures.triage import Triage
from flywheel.lake import Lake
from flywheel.statistics.paired import rate
from flywheel.traces.trace import toolset
from flywheel_tests.traces.test_inbox import WEEK, Read, account, read

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def tools() -> list[dict]:
    if not DATA.is_dir():
        pytest.skip("the real runs (../shared/data) are not here")
    from flywheel.workflows.starter import with_access

    return with_access(json.loads((DATA / "tau-airline" / "tools.json").read_text()))


@pytest.fixture
def reading(tools: list[dict], tmp_path: Path, lake: Lake) -> Read:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "trajectories.json").write_bytes((DATA / "tau-airline" / "trajectories.json").read_bytes())
    return read(folder, lake, tools=toolset(tools))


def judged(reading: Read, tools: list[dict], *, labels: bool) -> dict[bool, list[dict | None]]:
    """Was the run good -> the failure triage found, or None."""
    triage = Triage({toolset(tools).sha256: toolset(tools).text}, Rules(tuple(tools)))
    hidden = {} if labels else {"outcome_status": "unknown", "reward": None, "expected_actions": None}
    found: dict[bool, list[dict | None]] = {True: [], False: []}
    for row in reading.traces[WEEK]:
        found[row["reward"] == 1].append(triage.one({**row, **hidden}))
    return found


def test_all_are_read_in_under_five_seconds(tools: list[dict], tmp_path: Path, lake: Lake, reading: Read):
    assert account(reading) == (200, 200, 0, 0) and len(reading.traces[WEEK]) == 200
    started = time.monotonic()
    read(tmp_path / "in", Lake(tmp_path / "again"), tools=toolset(tools))
    assert time.monotonic() - started < 5
    assert all(json.loads(row["expected_actions"]) is not None for row in reading.traces[WEEK])


def test_with_rewards_every_failed_run_is_found_and_good_ones_are_not_blamed(tools: list[dict], reading: Read):
    found = judged(reading, tools, labels=True)
    assert (len(found[False]), len(found[True])) == (116, 84)
    assert all(found[False])
    blamed = sum(bool(failure) and failure["fault"] == "agent" for failure in found[True] if failure)
    assert blamed <= 8, rate(blamed, 84)


def test_without_labels_most_of_what_is_found_is_right(tools: list[dict], reading: Read):
    found = judged(reading, tools, labels=False)
    right, wrong = sum(map(bool, found[False])), sum(map(bool, found[True]))
    print(f"recall {rate(right, 116)}; precision {rate(right, right + wrong)}")
    assert right >= 23 and right / (right + wrong) >= 0.7


def test_real_spans_are_read_and_those_without_a_model_call_are_context(tools: list[dict], tmp_path: Path, lake: Lake):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "spans.json").write_bytes((DATA / "otel-genai" / "all-spans.json").read_bytes())
    reading = read(folder, lake, week="2026-02-02")
    assert account(reading) == (10, 10, 0, 0)
    assert len(reading.traces["2026-02-02"]) == reading.ledger[0]["traces"] == 4
    assert {row["source_format"] for row in reading.traces["2026-02-02"]} == {"otel_genai"}
