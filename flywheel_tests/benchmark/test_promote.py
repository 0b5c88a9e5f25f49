"""A failed run becomes a case; its conversation and near-duplicates are barred, its failure cluster is not."""

import json
from pathlib import Path

import pytest

from flywheel.benchmark.fingerprints import fingerprints
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.benchmark.leaks import LeakCandidate, find_leaks, read_registry
from flywheel.benchmark.promote import Wanted, case_of_trace, write_case
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.toolcalls.structured_answers import ResponseSchema
from flywheel.workflows.pack import Pack

WEEK = "2026-01-05"
SAID = "my parcel for order A7 never came and the neighbours have not seen it either"


def row(table: str, **values) -> dict:
    """A row of a weekly table, null where nothing is given."""
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


@pytest.fixture
def desk(lake: Lake) -> Lake:
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": "No idea."},
    ]
    call = {"id": "c", "type": "function", "function": {"name": "get_order", "arguments": '{"order_id": "A7"}'}}
    right = [*messages[:2], {"role": "assistant", "content": None, "tool_calls": [call]}]
    for table, rows in {
        "production_traces": [row("production_traces", shard=0, trace_id=f"t{n}", conversation_id=f"k{n}", messages=json.dumps(messages))
                              for n in range(3)],
        "near_duplicates": [row("near_duplicates", trace_id=f"t{n}", near_duplicate_group="t0" if n < 2 else "t2") for n in range(3)],
        "production_failures": [row("production_failures", failure_id=f"f{n}", trace_id=f"t{n}", message_index=2, bucket="wrong_tool_selection",
                                    failure_cluster="x", tool="get_order") for n in range(2)],
        "corrected_traces": [row("corrected_traces", correction_id="c0", trace_id="t0", first_bad_message_index=2, messages=json.dumps(right))],
    }.items():  # fmt: skip
        lake.replace_partition(table, rows, workflow="desk", week=WEEK)
    return lake


def test_a_failed_run_with_a_correction_becomes_a_case_by_itself(desk: Lake):
    case = case_of_trace(desk, "desk", "t0", Wanted())
    assert case.expectation.model_dump()["calls"] == [{"name": "get_order", "arguments": {"order_id": {"exact": "A7"}}}]
    assert case.messages == [{"role": "user", "content": SAID}] and case.category == "tool_calling"
    assert case.origin and case.origin.conversations == ["k0", "k1"], "its near-duplicate group"


def test_a_structured_correction_is_expected_field_by_field(desk: Lake):
    response = ResponseSchema("ticket", {"type": "object", "properties": {"topic": {"type": "string"}}})
    run = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": '{"topic": "lost parcel"}'},
    ]
    rows = [
        row("corrected_traces", correction_id="c0", trace_id="t0", first_bad_message_index=2, messages=json.dumps(run))
    ]
    desk.replace_partition("corrected_traces", rows, workflow="desk", week=WEEK)
    case = case_of_trace(desk, "desk", "t0", Wanted(), responses=[response])
    assert case.expectation.model_dump() == {
        "kind": "answer",
        "response": "ticket",
        "fields": {"topic": {"exact": "lost parcel"}},
    }
    with pytest.raises(FlywheelError, match="a reply in words"):
        case_of_trace(desk, "desk", "t0", Wanted())


def test_what_it_bars_and_what_it_does_not(desk: Lake):
    frozen = frozen_row(case_of_trace(desk, "desk", "t0", Wanted()), "t")
    desk.replace_partition("benchmark", frozen_and_retired(desk.empty("benchmark"), [frozen]), workflow="desk")
    rows = [LeakCandidate("conversation", "k0", "x"), LeakCandidate("neighbour", "k1", "x"), LeakCandidate("twin", "z", SAID + " today"),
            LeakCandidate("same cluster", "k9", "can you look up what became of B8")]  # fmt: skip
    found = find_leaks(read_registry(desk, "desk"), rows)
    assert {leak.row_id for leak in found} == {"conversation", "neighbour", "twin"}


def test_a_run_nobody_corrected_asks_for_what_is_right(desk: Lake):
    with pytest.raises(FlywheelError, match="no accepted correction") as caught:
        case_of_trace(desk, "desk", "t1", Wanted())
    assert "--includes" in caught.value.remedy
    case = case_of_trace(desk, "desk", "t1", Wanted(includes=["look into it"]))
    assert case.expectation.model_dump()["includes"] == [["look into it"]]
    for trace, said in (("t2", "no failure"), ("nope", "no such run")):
        with pytest.raises(FlywheelError, match=said):
            case_of_trace(desk, "desk", trace, Wanted())


def test_a_case_the_pack_cannot_load_leaves_the_file_as_it_was(desk: Lake, pack: Pack, tmp_path: Path):
    case = case_of_trace(desk, "desk", "t0", Wanted())
    file = write_case(tmp_path, case, pack.tools)
    before = file.read_text()
    with pytest.raises(FlywheelError, match="stands twice"):
        write_case(tmp_path, case, pack.tools)
    assert file.read_text() == before and fingerprints(case)["case_id"] == "promoted-t0"
