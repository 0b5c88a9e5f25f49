"""Reading or writing: names, then effects, and in doubt writing."""

from pathlib import Path

import pytest

from flywheel.operations.pack_draft.access import draft_access
from flywheel.operations.pack_draft.evidence import Evidence
from flywheel_tests.operations.pack_draft.logs import run, sampled, tool


@pytest.mark.parametrize(
    ("between", "after", "expected"),
    [
        ("check_out", '{"status": "shipped"}', "write"),  # reads by its name, and yet something changed
        ("check_out", '{"status": "open"}', "read_only"),
        ("handle", '{"status": "open"}', "write"),  # nothing seen, but no reading name
    ],
)
def test_an_effect_outweighs_a_name_and_doubt_means_writing(tmp_path: Path, between: str, after: str, expected: str):
    look = ("get_order", {"order_id": "R1"})
    calls = [(*look, '{"status": "open"}'), (between, {}, "ok"), (*look, after)]
    tools = {name: tool(name) for name in ("get_order", between)}
    access, guesses = draft_access(Evidence(sampled(tmp_path, [run(1, calls)]).runs), tools)
    assert access == {"get_order": "read_only", between: expected}
    said = {guess.id: guess.because for guess in guesses}
    assert "1 reads before and after it differ" in said[f"{between}.x-access"]


def test_a_tool_that_says_so_itself_is_no_guess(tmp_path: Path):
    tools = {"handle": {**tool("handle"), "x-access": "read_only"}}
    assert draft_access(Evidence(sampled(tmp_path, [run(1, [("handle", {}, "ok")])]).runs), tools) == (
        {"handle": "read_only"},
        [],
    )
