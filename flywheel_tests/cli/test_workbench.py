"""The workbench's commands: who may use it, and where it does not listen."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.errors import FlywheelError

PASSWORD = "correct horse battery\n"


def run(*arguments: str, typed: str = "") -> str:
    done = CliRunner().invoke(app, list(arguments), input=typed)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    return tmp_path


def test_users_are_added_listed_and_removed():
    assert "a name is enough" in run("workbench-users", "list")
    run("workbench-users", "add", "ann", "--role", "annotator", "--role", "reviewer", typed=PASSWORD)
    assert "ann: annotator, reviewer" in run("workbench-users", "list")
    with pytest.raises(FlywheelError, match="not known"):
        run("workbench-users", "add", "bob", "--role", "boss", typed=PASSWORD)
    run("workbench-users", "remove", "ann")
    with pytest.raises(FlywheelError, match="no user"):
        run("workbench-users", "remove", "ann")


def test_another_host_is_refused_before_there_are_named_users():
    with pytest.raises(FlywheelError) as caught:
        run("workbench", "--host", "0.0.0.0")
    assert "flywheel workbench-users add" in caught.value.remedy


def test_without_a_batch_it_says_what_to_run():
    with pytest.raises(FlywheelError) as caught:
        run("workbench", "--workflow", "support_desk")
    assert "flywheel" in caught.value.remedy


def test_a_model_elsewhere_is_refused():
    with pytest.raises(FlywheelError, match="leave the building"):
        run("workbench", "--model-url", "https://api.example.com/v1")
