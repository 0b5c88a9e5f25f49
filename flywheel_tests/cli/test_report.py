"""`flywheel report` and `diff`: what they print, what they write, and what they say to a mistake."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel_tests.report.synthetic import WORKFLOW, decide, evaluate, freeze

WEEK = "2026-01-05"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    lake = Lake(tmp_path / "lake")
    freeze(lake, 8)
    evaluate(lake, WEEK, "base", "a1", (0.25, 0.5), cases=8)
    decide(lake, WEEK, "PROMOTE", "base", "a1", "a1", cases=8)
    return tmp_path


def flywheel(*words: str) -> str:
    return CliRunner().invoke(app, [*words, "--workflow", WORKFLOW], catch_exceptions=False).output


def test_cases_that_changed_and_one_case_whatever_became_of_it(home: Path):
    told = flywheel("diff", "--week", WEEK)
    assert (
        "of 8 cases under both arms" in told
        and "fixed: case-" in told
        and 'steps[0].calls[0].arguments.order_id: "R999" →' in told
    )
    one = flywheel("diff", "--week", WEEK, "--case", "case-000")
    assert one.count("case-000") == 1 and 'pay(order_id={"exact": "R0"})' in one and "  why " in one


def test_all_weeks_are_printed_and_written(home: Path):
    told = flywheel("report", "--weeks")
    page = home / "reports" / WORKFLOW / "index.html"
    assert "PROMOTE" in told and "index.html" in told and "door, 1 week<" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diff", "--week", "2026-01-06"), "no Monday"),
        (("diff", "--week", "2026-01-12"), "nothing was evaluated"),
        (("diff", "--week", WEEK, "--case", "nobody"), "no case 'nobody'"),
        (("report",), "give --week MONDAY, or --weeks"),
        (("report", "--weeks", "--week", WEEK), "give --week MONDAY, or --weeks"),
    ],
)
def test_mistakes_name_their_remedy(home: Path, words: tuple[str, ...], said: str):
    with pytest.raises(FlywheelError) as raised:
        flywheel(*words)
    assert said in str(raised.value)
