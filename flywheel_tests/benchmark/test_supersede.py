"""Cases of tools that changed: carried over by the pack's migration, or drafted for a person."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.drafts import move_ready
from flywheel.benchmark.freeze import frozen_row
from flywheel.benchmark.supersede import next_id, propose
from flywheel.errors import FlywheelError
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack


def renamed(mine: Pack, old: str, new: str, migrate: bool) -> Pack:
    tools = json.loads((mine.folder / "tools.json").read_text())
    for tool in tools:
        if tool["function"]["name"] == old:
            tool["function"]["name"] = new
    (mine.folder / "tools.json").write_text(json.dumps(tools))
    if migrate:
        with (mine.folder / "workflow.yaml").open("a") as file:
            file.write(f"  tool_migrations: {{{old}: {new}}}\n")
    return load_pack(mine.folder)


def test_a_renamed_tool_is_carried_over_by_the_packs_migration(mine: Pack):
    assert propose(mine) == []
    today = renamed(mine, "cancel_order", "order_cancel", migrate=True)
    with pytest.raises(FlywheelError, match="unknown tool") as caught:
        load_cases(today.folder / "benchmark", today.tools)
    assert "supersede" in caught.value.remedy
    (file,) = propose(today, ready=True)
    assert file.stem == "call-cancel-order-00-v2" and propose(today) == [], "it is drafted once"
    moved = move_ready(today)
    assert moved.superseded == ["call-cancel-order-00"] and moved.cases[0].cluster == "cancel_order-0"
    cases = {case.id: case for case in load_cases(today.folder / "benchmark", today.tools)}
    assert set(cases) == {"call-get-order-00", "call-cancel-order-00-v2"}
    row = frozen_row(cases["call-cancel-order-00-v2"], today.tools_sha256)
    assert json.loads(row["case"])["supersedes"] == "call-cancel-order-00"


def test_a_tool_without_a_successor_and_a_changed_schema_wait_for_a_person(mine: Pack):
    today = renamed(mine, "cancel_order", "order_cancel", migrate=False)
    (file,) = propose(today, ready=True)
    assert "ready: false" in file.read_text() and "tool_migrations" in file.read_text()
    text = (
        (mine.folder / "tools.json")
        .read_text()
        .replace('"required": ["order_id"]', '"required": ["order_id", "email"]')
    )
    (mine.folder / "tools.json").write_text(text)
    today = load_pack(mine.folder)
    (other,) = propose(today)
    assert other.stem == "call-get-order-00-v2" and "no call of get_order" in other.read_text()
    with pytest.raises(FlywheelError, match="lists no case"):
        propose(today, ["nope"])


@given(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,79}", fullmatch=True))
def test_the_next_id_is_an_id_that_is_free(case_id: str):
    first = next_id(case_id, [case_id])
    second = next_id(case_id, [case_id, first])
    assert first != case_id and second not in (case_id, first) and len(second) <= 80
