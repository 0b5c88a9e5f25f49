"""Where runs are kept: a new user's empty folder becomes one, and nobody else's is touched; what a run of one stage writes."""

from pathlib import Path

import dagster as dg
import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.failures import stages_by_step
from flywheel.operations.launch import LAPTOP, instance, lay_out_instance, run_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that what `instance` sets is undone, too
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_empty_folder_gets_what_the_projects_own_has(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FlywheelError, match="no dagster.yaml") as caught:
        instance()
    assert "flywheel init" in (caught.value.remedy or "")
    monkeypatch.delenv("DAGSTER_HOME")
    assert lay_out_instance() == ["dagster.yaml", "workspace.yaml"]
    with instance() as on:
        assert (folder / ".dagster").is_dir() and not on.telemetry_enabled


def test_the_copies_are_those_of_the_project():
    for file in LAPTOP.iterdir():
        assert file.read_bytes() == (ROOT / file.name).read_bytes(), f"cp {file.name} flywheel/operations/laptop/"


def test_what_is_there_stays(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "workspace.yaml").write_text("mine")
    assert lay_out_instance() == ["dagster.yaml"] and (folder / "workspace.yaml").read_text() == "mine"
    (folder / "dagster.yaml").write_text("mine")
    assert lay_out_instance() == [] and (folder / "dagster.yaml").read_text() == "mine"


def test_where_a_dagster_home_is_named_nothing_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "elsewhere"))
    assert lay_out_instance() == [] and list(folder.iterdir()) == []


@pytest.mark.parametrize("stage", ["sft_dataset", "preference_dataset"])
def test_either_dataset_is_run_with_the_other_and_a_failure_names_it(stage: str, tmp_path: Path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as on:
        with pytest.raises(FlywheelError, match="base model tiny-random is not in the cache") as caught:
            run_job("learn", workflow="door", week="2026-05-04", on=on, stages=[stage])
        (made,) = on.get_runs()
        assert caught.value.where == f"stage sft_dataset, run {made.run_id}"
        both = ("sft_dataset", "preference_dataset")
        checks = {"no_benchmark_leak": both, "sft_dataset_no_correction_is_lost": both[:1]}
        assert stages_by_step(on, made.run_id) == {"training_datasets": both, **checks}
