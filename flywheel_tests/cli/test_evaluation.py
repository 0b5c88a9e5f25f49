"""`flywheel evaluation`: a sheet for each person, their ratings in, and the disagreements listed; mistakes named, no traceback."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel_tests.evaluation.judged import WEEK, door_pack, evaluated

WHERE = ["--workflow", "door", "--week", WEEK]


def test_from_the_sheets_to_the_disagreements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pack = door_pack(tmp_path, human_review="required", review={"at_least": 20})
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    lake, runner = Lake(tmp_path / "lake"), CliRunner()

    def said(*arguments: str) -> str:
        done = runner.invoke(app, ["evaluation", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    with pytest.raises(FlywheelError, match="eval_results was never written"):
        said("sample", *WHERE)
    evaluated(lake, pack)
    assert "by two people" in said("sample", *WHERE)
    sheets = sorted((tmp_path / "reviews" / "door" / WEEK).glob("*.jsonl"))
    assert len(sheets) == 2 and all(sheet.with_suffix(".html").is_file() for sheet in sheets)
    for sheet, person in zip(sheets, ("ann", "bob"), strict=True):
        lines = [json.loads(line) | {"verdict": "pass", "comment": "fine"} for line in sheet.read_text().splitlines()]
        sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))
        last = said("import", str(sheet), "--by", person)
    assert f"{len(lines)} ratings of bob added" in last and "cannot be believed" in last
    assert "people and program agree on" in said("agreement", *WHERE)
    listed = said("disagreements", "--workflow", "door")
    assert "program: fail (wrong); people: pass" in listed and "| fine" in listed and "fault=grader" in listed
    assert "nobody is unsure or split" in said("sample", *WHERE, "--undecided")
