"""A house and a trained job, made once, and copies of them."""

import shutil
from pathlib import Path

import pytest

from flywheel.operations.training_job import export_job
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel_tests.operations.training_job.house import WEEK, WORKFLOW, Place, build_house, train_there


@pytest.fixture(scope="package")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house and, beside it, an exported job that was trained."""
    folder = tmp_path_factory.mktemp("original")
    build_house(folder / "home")
    settings = Settings(home=folder / "home")
    export_job(settings, WORKFLOW, WEEK, folder / "job")
    train_there(folder / "job", find_base_model(settings.models(), "tiny-random").folder)
    return folder


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path / "home", tmp_path / "job", monkeypatch)


@pytest.fixture
def refusing(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The job alone is a copy: what refuses leaves the house as it is."""
    shutil.copytree(original / "job", tmp_path / "job")
    return Place(original / "home", tmp_path / "job", monkeypatch)
