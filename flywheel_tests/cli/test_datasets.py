"""The commands around a dataset, as a person types them: what they print, and what they say when there is nothing yet."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.cli import app
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.lake import TABLES, Lake
from flywheel.workflows.loader import load_pack

WEEK = "2026-01-05"
DOOR = Path(__file__).parent.parent / "packs" / "door"


def row(table: str, **values) -> dict:
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    lay_out_pack(DOOR, tmp_path / "workflows" / "door")
    return tmp_path


def typed(*words: str) -> str:
    ended = CliRunner().invoke(app, [*words, "--workflow", "door"], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_cover_and_export_say_what_is_there(home: Path):
    with pytest.raises(FlywheelError, match="has no dataset yet"):
        typed("cover")
    lake = Lake(home / "lake")
    target = '{"role": "assistant", "content": "Doors only."}'
    common = {"source_id": "c", "tools": "[]", "messages": '[{"role": "user", "content": "sing"}]'}
    lake.replace_partition(
        "sft_dataset", [row("sft_dataset", row_id="r", target=target, **common)], workflow="door", week=WEEK
    )
    pair = row("preference_dataset", row_id="y", chosen=target, rejected=target, **common)
    lake.replace_partition("preference_dataset", [pair], workflow="door", week=WEEK)
    assert "collect 3 more runs in which open_door is the right call (has 0)" in typed("cover")
    step = '{"role": "assistant", "tool_calls": [{"function": {"name": "close_door", "arguments": "{}"}}]}'
    case = next(
        one
        for one in load_cases(DOOR / "benchmark", load_pack(DOOR).tools)
        if one.expectation.kind == "call" and one.expectation.calls[0].name == "open_door"
    )
    seen = row(
        "eval_results",
        case_id=case.id,
        arm="candidate",
        epoch=0,
        adapter_id="a1",
        transcript=f"[{json.dumps(case.messages)[1:-1]}, {step}]",
    )
    lake.replace_partition(
        "benchmark", [row("benchmark", **{**frozen_row(case, "t"), "retired": False})], workflow="door"
    )
    lake.replace_partition("eval_results", [seen], workflow="door", week=WEEK)
    told = typed("cover", "--draft", "1")
    assert (
        "open_door, and close_door instead: 1 times in 1 cases" in told and "flywheel demonstration take door" in told
    )
    drafts = sorted((home / "workflows" / "door" / "demonstrations" / "drafts").glob("*.yaml"))
    assert [file.stem for file in drafts] == ["close_door-not-open_door", "open_door-not-close_door"]
    assert not any(str(message["content"]) in file.read_text() for file in drafts for message in case.messages)
    taken = CliRunner().invoke(app, ["demonstration", "take", "door"], catch_exceptions=False)
    assert "2 drafts are not ready" in taken.output
    with pytest.raises(FlywheelError, match="no arm 'best'"):
        typed("cover", "--arm", "best")
    assert "openai.jsonl: 1 rows" in typed("dataset", "export", "--week", WEEK, "--to", str(home / "out"))
    assert "Doors only." in (home / "out" / "trl_sft.jsonl").read_text()


def test_stats_count_cases_and_what_they_bar(home: Path):
    pack, lake = load_pack(home / "workflows" / "door"), Lake(home / "lake")
    rows = [frozen_row(case, pack.tools_sha256) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), rows), workflow="door")
    said = typed("benchmark", "stats")
    assert f"barred for ever: {len(rows)} conversations" in said and "multi_step" in said


def test_withdrawing_asks_for_a_name_and_lists_who_trained_on_it(home: Path):
    lake = Lake(home / "lake")
    step = row("training_steps", row_id="r", source="correction", source_id="c", message_index=1, annotator="ann")
    lake.replace_partition("training_steps", [step], workflow="door", week=WEEK)
    lake.replace_partition("sft_dataset", [row("sft_dataset", row_id="r", source_id="c")], workflow="door", week=WEEK)
    lake.replace_partition("checkpoint", [row("checkpoint", adapter_id="adapter-1")], workflow="door", week=WEEK)
    assert CliRunner().invoke(app, ["dataset", "withdraw", "annotator", "ann"]).exit_code == 2
    said = typed("dataset", "withdraw", "annotator", "ann", "--by", "Dana", "--reason", "left", "--no-rebuild")
    assert "1 candidate steps" in said and "checkpoint adapter-1" in said and "retrain without it: flywheel run" in said
    assert "not judged" in said and "still hold its rows" in said
