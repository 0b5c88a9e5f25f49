"""Names become folders: a name that would lead elsewhere is refused, wherever it comes in."""

import inspect
from pathlib import Path

import pytest

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

HOSTILE = (
    "../../out",
    "..",
    "/etc",
    "a/b",
    "a\\b",
    "",
    ".hidden",
    "a\0b",
    "a\nb",
    "x" * 200,
    "~root",
    "C:/x",
    "%2e%2e/x",
    "a b",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_folder_of_the_house_lies_elsewhere(tmp_path: Path, name: str):
    settings, asked = Settings(home=tmp_path), 0
    for method in ("inbox", "checkpoints", "qa_store", "egress_log", "pointer", "bundles", "report", "reviews", "simulation", "scratch"):  # fmt: skip
        ask = getattr(settings, method)
        good = {"workflow": "support_desk", "week": "2026-01-05", "stage": "checkpoint"}
        wanted = [parameter for parameter in inspect.signature(ask).parameters]
        assert tmp_path in ask(**{one: good[one] for one in wanted}).parents
        for bad in {"workflow", "week"} & set(wanted):
            with pytest.raises(FlywheelError, match="is no name of a workflow or week"):
                ask(**{**{one: good[one] for one in wanted}, bad: name})
            asked += 1
    assert asked == 14


@pytest.mark.parametrize("words", [["report", "--weeks"], ["report", "--week", "2026-01-05"], ["run", "--week", "2026-01-05"], ["serve"]])  # fmt: skip
def test_commands_neither_read_nor_write_there(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    home = tmp_path / "a" / "home"
    monkeypatch.setenv("FLYWHEEL_HOME", str(home))
    before = sorted(tmp_path.rglob("*"))
    option = ["../../../out"] if words == ["serve"] else ["--workflow", "../../../out"]
    with pytest.raises(SystemExit) as ended:
        app([*words, *option])
    said = capsys.readouterr()
    assert ended.value.code == 2, said
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and not path.is_relative_to(tmp_path / "a")] == []  # fmt: skip
