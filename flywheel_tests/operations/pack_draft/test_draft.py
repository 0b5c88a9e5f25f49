"""A pack drafted from logs: it loads, and every guess in it is listed until a person has answered."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.pack_draft.draft import draft_pack
from flywheel.operations.pack_draft.told import told
from flywheel.partitions import week_of
from flywheel.settings import Settings
from flywheel.workflows.guesses import answer, open_guesses, states, unconfirmed_reads
from flywheel.workflows.loader import load_pack
from flywheel_tests.operations.pack_draft.logs import run, sampled, tool

CALLS = [
    ("get_order", {"order_id": "R1"}, "{}"),
    ("cancel_order", {"order_id": "R1", "reason": "late"}, '{"ok": true}'),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runs = [run(n, [(name, {**given, **({"reason": ("late", "other")[n % 2]} if "reason" in given else {})}, said) for name, given, said in CALLS])
            for n in range(24)]  # fmt: skip
    draft_pack(tmp_path / "shop", sampled(tmp_path, runs))
    return tmp_path / "shop"


def test_the_pack_loads_and_lists_its_guesses(folder: Path):
    pack = load_pack(folder)
    assert {tool["function"]["name"]: tool["x-access"] for tool in pack.tools} == {
        "cancel_order": "write",
        "get_order": "read_only",
    }
    assert pack.system == "You keep a shop's orders."
    assert {guess.id for guess in open_guesses(folder)} == {
        "cancel_order.parameters", "get_order.parameters", "cancel_order.x-access", "get_order.x-access", "system.md",
        "cancel_order.reason.enum",
    }  # fmt: skip
    assert unconfirmed_reads(folder) == {"get_order"}


def test_long_runs_are_kept_whole_and_short_ones_change_no_default(folder: Path, tmp_path: Path):
    assert (load_pack(folder).settings.training.max_prompt_tokens, load_pack(folder).settings.max_model_len) == (
        2048,
        4096,
    )
    runs = [run(n, [("get_order", {"order_id": "R1"}, "x" * (60_000 if n == 0 else 20_000))]) for n in range(40)]
    draft = draft_pack(tmp_path / "long", sampled(tmp_path, runs))
    settings = load_pack(tmp_path / "long").settings
    assert settings.training.max_prompt_tokens == 8192 and settings.max_model_len == 9216, "the one loop aside"
    assert any("prompts are long" in remark and "context_policy" in remark for remark in draft.remarks)


def test_a_proposal_is_written_when_it_is_confirmed_and_not_before(folder: Path):
    reason = ("cancel_order", "function", "parameters", "properties", "reason")
    before = json.loads((folder / "tools.json").read_text())
    assert "enum" not in json.dumps(before)
    answer(folder, ["cancel_order.reason.enum"], by="ann", confirm=True)
    tools = {tool["function"]["name"]: tool for tool in json.loads((folder / "tools.json").read_text())}
    assert tools[reason[0]]["function"]["parameters"]["properties"]["reason"]["enum"] == ["late", "other"]
    found = {guess.id: (state, guess.answered_by) for guess, state in states(folder)}
    assert found["cancel_order.reason.enum"] == ("confirmed", "ann")
    assert found["cancel_order.parameters"] == ("unconfirmed", None)  # the rest of the schema was not looked at


def test_correcting_the_file_is_an_answer(folder: Path):
    text = (folder / "tools.json").read_text().replace('"read_only"', '"write"')
    (folder / "tools.json").write_text(text)
    (folder / "system.md").write_text("Another prompt.")
    found = {guess.id: state for guess, state in states(folder)}
    assert found["get_order.x-access"] == found["system.md"] == "changed"
    assert found["cancel_order.x-access"] == "unconfirmed"


def test_answers_that_cannot_be_are_refused(folder: Path):
    with pytest.raises(FlywheelError, match="no open guess is called ghost"):
        answer(folder, ["ghost"], by="ann", confirm=True)
    with pytest.raises(FlywheelError, match="stands in its file already"):
        answer(folder, ["system.md"], by="ann", confirm=False)
    (folder / "guesses.json").write_text("[{}]")
    with pytest.raises(FlywheelError, match="guesses.json cannot be read"):
        open_guesses(folder)


def test_runs_that_only_talk_are_refused_with_the_remedy(tmp_path: Path):
    with pytest.raises(FlywheelError, match="none of 3 runs logs a tool or calls one") as caught:
        draft_pack(tmp_path / "talk", sampled(tmp_path, [run(n, []) for n in range(3)]))
    assert "--tools" in caught.value.remedy and not (tmp_path / "talk").exists()


def test_a_pack_that_would_not_load_leaves_nothing_and_can_be_drafted_again(tmp_path: Path):
    read = sampled(tmp_path, [run(n, CALLS) for n in range(3)])
    target = tmp_path / "home" / "workflows" / "shop"
    with pytest.raises(FlywheelError, match="no pack was made: tool 'get_order'") as caught:
        draft_pack(target, read, tools=[tool("get_order", {"type": "objekt"})])
    assert "--tools" in caught.value.remedy and not (tmp_path / "home").exists()
    draft_pack(target, read, tools=[tool("get_order")])
    assert load_pack(target).name == "shop"


def test_a_prompt_that_changes_every_day_is_said_with_what_changes(tmp_path: Path):
    system = "You keep a shop's orders and are polite to everybody who asks. Look up before you change. Today is {}."
    runs = [run(n, CALLS, system=system.format(f"2026-01-{n + 1:02d}")) for n in range(20)]
    draft = draft_pack(tmp_path / "daily", sampled(tmp_path, runs))
    assert any("20 wordings in 20 runs" in remark and "2026-01-" in remark for remark in draft.remarks)


def test_a_persons_data_in_the_prompt_is_said(tmp_path: Path):
    runs = [run(n, CALLS, system="You help Mia, mia@shop.example.com, with her orders.") for n in range(3)]
    assert any(
        "personal data (email)" in remark for remark in draft_pack(tmp_path / "mia", sampled(tmp_path, runs)).remarks
    )


def test_the_next_command_names_the_newest_week(tmp_path: Path):
    runs = [run(n, CALLS, started_at=f"2025-11-{n + 1:02d}T10:00:00Z") for n in range(20)]
    read = sampled(tmp_path, runs)
    lines = told(Settings(home=tmp_path), "shop", read, draft_pack(tmp_path / "shop", read))
    assert lines[-1] == "next: flywheel run --workflow shop --week 2025-11-17 --stage collect"
    assert "export FLYWHEEL_FIRST_WEEK=2025-10-27, for good" in lines[-2]


def test_a_week_that_has_not_ended_is_not_the_next_one(tmp_path: Path):
    today, before = datetime.now(UTC), datetime.now(UTC) - timedelta(days=7)
    for times, said in (([today, before], week_of(before)), ([today], "has not ended")):
        runs = [run(n, CALLS, started_at=time.isoformat()) for n, time in enumerate(times * 3)]
        read = sampled(tmp_path, runs)
        lines = told(Settings(home=tmp_path), "shop", read, draft_pack(tmp_path / f"shop{len(times)}", read))
        assert any(said in line for line in lines[-2:])
