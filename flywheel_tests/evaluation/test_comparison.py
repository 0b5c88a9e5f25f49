"""Two configurations: one server where only the adapter differs, else one after the other; the A/A run is the baseline's."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.benchmark.cases import Case
from flywheel.errors import FlywheelError
from flywheel.evaluation import comparison
from flywheel.evaluation.comparison import Machine, compare
from flywheel.serving.configuration import Configuration
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack

Started = list[tuple[str, list[str], list[str], str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """What each server was started for: its prompt, its arms, its adapters, and its log's folder."""
    seen: Started = []

    def evaluate(benchmark: Any, arms: Any, spec: Any, renderer: Any, *, log: Path, start_seconds: float) -> Any:
        seen.append((benchmark.pack.system, [arm.name for arm in arms], sorted(spec.adapters), log.parent.name))
        (log.parent / "arms").mkdir(parents=True)
        return SimpleNamespace(
            rows=[{"arm": arm.name, "generation_sha256": benchmark.generation_sha256} for arm in arms]
        )

    monkeypatch.setattr(comparison, "evaluate", evaluate)
    return seen


def configuration(pack: Pack, tmp_path: Path, name: str, adapter: str, **changes: Any) -> Configuration:
    return Configuration(name, dataclasses.replace(pack, **changes), BaseModel("tiny", tmp_path, "0" * 64, ""), adapter)


def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "checkpoints", tmp_path / "scratch", 1, 1, tmp_path / "egress.jsonl")


def test_two_adapters_share_a_server(started: Started, door: Pack, door_cases: list[Case], tmp_path: Path):
    sides = (configuration(door, tmp_path, "a", "a1"), configuration(door, tmp_path, "b", "b1"))
    rows = compare(*sides, door_cases, "v1", machine(tmp_path))
    assert started == [(door.system, ["incumbent", "candidate", "incumbent_again"], ["a1", "b1"], "baseline")]
    assert len(rows) == 3 and not (tmp_path / "scratch" / "baseline" / "arms").exists(), (
        "kept arms are forgotten at the end"
    )


def test_what_needs_another_server_runs_after_it_and_the_a_a_run_is_the_baselines(
    started: Started, door: Pack, door_cases: list[Case], tmp_path: Path
):
    sides = (configuration(door, tmp_path, "a", "a1"), configuration(door, tmp_path, "b", "a1", system="Doors only."))
    rows = compare(*sides, door_cases, "v1", machine(tmp_path))
    assert started == [
        (door.system, ["incumbent", "incumbent_again"], ["a1"], "baseline"),
        ("Doors only.", ["candidate"], ["a1"], "candidate"),
    ]
    assert len({row["generation_sha256"] for row in rows}) == 2, "arms of one are never taken for the other's"


def test_a_case_whose_tool_one_side_lacks_is_refused_before_anything_starts(
    started: Started, door: Pack, door_cases: list[Case], tmp_path: Path
):
    sides = (
        configuration(door, tmp_path, "a", "base"),
        configuration(door, tmp_path, "b", "base", tools=door.tools[:1]),
    )
    with pytest.raises(FlywheelError, match="names unknown tool 'close_door'"):
        compare(*sides, door_cases, "v1", machine(tmp_path))
    assert started == []
