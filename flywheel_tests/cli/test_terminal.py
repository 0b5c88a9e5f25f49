"""Names and reasons that hold escape sequences: a terminal is shown them, and never told to do anything."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.main import get_command

from flywheel.cli import app
from flywheel.cli.terminal import guard
from flywheel.corrections.workbench.people import People
from flywheel.errors import FlywheelError
from flywheel.operations.screen import foreign

# Sets the window's title, clears the screen, colours, overwrites the line, hides text, and turns its direction round.
HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\rok \x9b8m\u202etxt\u200b[link=http://evil]here[/link] [bold]x"


def active(text: str) -> list[str]:
    return re.findall(r"[^\x20-\x7e\n\t]", text)


def test_a_command_spells_out_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    People(tmp_path / "qa" / "people.json").add("ann", ["lead"], "correct horse battery", by=HOSTILE, reason=HOSTILE)
    with pytest.raises(SystemExit) as ended:
        app(["audit"])
    said = capsys.readouterr()
    assert ended.value.code == 0 and active(said.out + said.err) == []
    assert said.out.count("\\u001b]0;title\\u0007") == 2 and "\\u000dok" in said.out and "\\u202etxt" in said.out


def test_so_are_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def fails(*_: object) -> None:
        raise FlywheelError(HOSTILE, where=HOSTILE, remedy=HOSTILE)

    monkeypatch.setattr("flywheel.operations.audit_log.audit_log", fails)
    with pytest.raises(SystemExit) as ended:
        app(["audit"])
    said = capsys.readouterr()
    assert ended.value.code == 2 and active(said.out + said.err) == [] and said.err.count("\\u001b[2J") == 3


def test_no_command_prints_around_it():
    def leaves(command: object) -> list[object]:
        below = getattr(command, "commands", None)
        return [leaf for one in below.values() for leaf in leaves(one)] if below else [command]

    found = leaves(guard(get_command(app)))
    assert len(found) > 40
    assert [one for one in found if not hasattr(one.callback, "__wrapped__")] == []  # type: ignore[attr-defined]


def test_the_screen_of_a_run_reads_no_markup_of_others():
    out = io.StringIO()
    Console(file=out, highlight=False, width=400).print(foreign(HOSTILE), soft_wrap=True)
    assert active(out.getvalue()) == [] and "[link=http://evil]here[/link] [bold]x" in out.getvalue()
