"""A withdrawal under a real Dagster instance: the weeks concerned are built again, and who trained on it stays known."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.chat import Renderer
from flywheel.cli import app
from flywheel.datasets.withdrawals import tainted
from flywheel.demo.week import lay_out_pack
from flywheel.lake import TABLES, Lake
from flywheel.operations.launch import instance, run_job
from flywheel.workflows.base_model import write_manifest
from flywheel.workflows.loader import load_pack
from flywheel_tests.datasets.samples import WEEKS, correction, said

DOOR = Path(__file__).parent.parent / "packs" / "door"
DATASETS = ["sft_dataset", "preference_dataset"]


def row(table: str, **values) -> dict:
    return {**{name: None for name in TABLES[table].polars_schema() if name not in ("week", "workflow")}, **values}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renderer: Renderer) -> Lake:
    """Two weeks of the door pack with built datasets; ann's answers stand in both."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    (tmp_path / "home" / "dagster").mkdir(parents=True)
    (tmp_path / "home" / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    lay_out_pack(DOOR, tmp_path / "home" / "workflows" / "door")
    pack = load_pack(tmp_path / "home" / "workflows" / "door")
    model = tmp_path / "home" / "models" / f"{pack.settings.base_model}-{'0' * 12}"
    model.mkdir(parents=True)
    shutil.copy(renderer.tokenizer_file, model / "tokenizer.json")
    write_manifest(model, sha256="0" * 64, source="test")
    made = Lake(tmp_path / "home" / "lake")
    cases = [frozen_row(case, pack.tools_sha256) for case in load_cases(pack.folder / "benchmark", pack.tools)]
    made.replace_partition("benchmark", frozen_and_retired(made.empty("benchmark"), cases), workflow="door")
    for week in WEEKS[:2]:
        rows = [
            correction(pack, f"thing {n} of {week}", said(f"so it is {n}"), annotator=("ann", "bea")[n % 2])
            for n in range(6)
        ]
        made.replace_partition("corrected_traces", rows, workflow="door", week=week)
        with instance() as on:
            run_job("learn", workflow="door", week=week, on=on, stages=DATASETS)
    return made


def test_a_withdrawal_rebuilds_the_weeks_and_names_what_trained_and_what_serves(lake: Lake):
    weeks = WEEKS[:2]
    for week, adapter in zip(weeks, ("adapter-1", "adapter-2"), strict=True):
        read = {f"sft_dataset/{week}": lake.lineage("sft_dataset", workflow="door", week=week).version}  # type: ignore[union-attr]
        lake.replace_partition(
            "checkpoint", [row("checkpoint", adapter_id=adapter)], workflow="door", week=week, inputs=read
        )
        verdict = row("promotion", decision_id=adapter, verdict="PROMOTE", candidate_adapter_id=adapter)
        lake.replace_partition("promotion", [verdict], workflow="door", week=week)
    # The first week's first adapter served for a day, before the week was trained again.
    first = {
        "entry_id": "first",
        "candidate_adapter_id": "adapter-0",
        "previous_adapter_id": "base",
        "served_adapter_id": "adapter-0",
    }
    lake.append_new("promotion_log", [row("promotion_log", **first) | {"week": weeks[0]}], workflow="door")
    moved = [row("promotion_log", entry_id=week, served_adapter_id=adapter) | {"week": week}
             for week, adapter in zip(weeks, ("adapter-1", "adapter-2"), strict=True)]  # fmt: skip
    lake.append_new("promotion_log", moved, workflow="door")
    before = {week: lake.read_partition("sft_dataset", workflow="door", week=week) for week in weeks}
    assert [before[week].height for week in weeks] == [6, 12]
    words = ["dataset", "withdraw", "annotator", "ann", "--by", "Dana", "--reason", "left", "--workflow", "door"]
    refused = CliRunner().invoke(app, words, input="n\n")
    assert "build the datasets of 2 weeks again now" in refused.output and "still hold its rows" in refused.output
    done = CliRunner().invoke(app, [*words, "--yes"])
    assert done.exit_code == 0, done.output
    assert "checkpoint adapter-1 (week 2026-01-05, PROMOTE) trained on 3 rows of it\n" in done.output
    assert "checkpoint adapter-2 (week 2026-01-12, PROMOTE) trained on 6 rows of it; IT SERVES NOW" in done.output
    assert "adapter adapter-0 (last named in week 2026-01-05): its week has trained another one since" in done.output
    assert "adapter base" not in done.output
    assert "2 of 2: the datasets of 2026-01-12 are built again" in done.output
    assert "--week 2026-01-12 --stage learn" in done.output
    for week in weeks:
        now = lake.read_partition("sft_dataset", workflow="door", week=week)
        kept = before[week].filter(before[week]["source_id"].is_in(now["source_id"].implode()))
        assert now.height == before[week].height / 2 and now.equals(kept), (
            "without the source, and otherwise the build it was"
        )
    assert [one.rows for one in tainted(lake, "door", "annotator", "ann")] == [3, 6], "what trained on it stays known"
    again = CliRunner().invoke(app, [*words, "--yes"])
    assert "no dataset holds a row of it" in again.output and "IT SERVES NOW" in again.output
