"""The job folder as it is written: once, whole, and with all code that trains."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.training_job import export_job
from flywheel.training.job import BASE_FOLDER, OUT, RETURN, SUMS, open_job
from flywheel.training.job_export import NOT_ASKED, PINNED
from flywheel.training.source_files import training_sources
from flywheel_tests.operations.training_job.house import WEEK, WORKFLOW, Place, train_there

ROOT = Path(__file__).parents[3]


def test_the_same_job_is_written_once_and_a_banked_week_has_none(place: Place, tmp_path: Path):
    before = (place.job / SUMS).read_text()
    again = export_job(place.settings, WORKFLOW, WEEK, place.job, with_base=True)
    assert (place.job / SUMS).read_text() == before and (place.job / OUT / RETURN).is_file()
    assert again.sha256 == open_job(place.job)[1] and (place.job / BASE_FOLDER / "model.safetensors").is_file()
    assert train_there(place.job).result.adapter_id  # trained before: it is only read
    with pytest.raises(FlywheelError, match="the folder holds something else"):
        export_job(place.settings, WORKFLOW, WEEK, place.home)
    place.lake.replace_partition("corrected_traces", [], workflow=WORKFLOW, week=WEEK)
    with pytest.raises(FlywheelError, match="nothing to train in the week of 2026-01-05: banked: 0 accepted"):
        export_job(place.settings, WORKFLOW, WEEK, tmp_path / "other")


def test_the_folder_carries_all_code_that_trains_and_pip_is_told_the_rest(original: Path, tmp_path: Path):
    sources, cpu = training_sources(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cpu"]  # fmt: skip
    assert {f"{name}=={version}" for name, version in PINNED.items()} <= set(cpu)
    asked = {line.partition("==")[0] for line in (original / "job" / "requirements.txt").read_text().splitlines()}
    assert asked == {name.replace("_", "-") for name in sources.packages - NOT_ASKED} and {"polars", "pydantic-settings", *PINNED} <= asked  # fmt: skip
    assert not {Path("defs/training.py"), Path("lake/store.py"), Path("demo/week.py")} & set(sources.files)
    # Alone, without our own source: it starts, and says that the base model is not there.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shutil.copytree(original / "job", tmp_path / "job", ignore=shutil.ignore_patterns(OUT))
    command = [sys.executable, str(tmp_path / "job" / "train.py"), str(tmp_path)]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 2 and "there is no base model in that folder" in said.stderr, said.stderr
