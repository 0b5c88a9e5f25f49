"""All weeks on one page: a row each, links to what exists, and nothing of any trace."""

import re

import pytest

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.report.weeks import HEADER, render_weeks, week_lines
from flywheel_tests.report.conftest import Weeks
from flywheel_tests.report.synthetic import WORKFLOW


def test_a_row_a_week_with_verdict_success_cost_and_recurrence(weeks: Weeks):
    lines = week_lines(weeks.lake, WORKFLOW)
    assert [line.week for line in lines] == ["2025-12-29", *weeks.mondays]
    third = dict(zip(HEADER, lines[3].cells, strict=True))
    assert (third["verdict"], third["serves after it"], third["n"]) == ("REJECT", "adapter-02", "40")
    assert re.fullmatch(r"60\.0% \(\d+\.\d% to \d+\.\d%\)", third["core success (95 % interval)"])
    assert (third["corrections"], third["expert hours"], third["cost"]) == ("18", "4.5", "270")
    assert re.fullmatch(r"\d+%", third["recurrence"])
    assert lines[7].cells[1] == "–" and lines[7].cells[3] == "–" and "other detectors" in lines[7].cells[-1]
    assert lines[6].cells[-2] == "not comparable" and "other tools" in lines[5].cells[-1]


def test_the_page_is_self_contained_and_names_its_weeks(weeks: Weeks):
    page = render_weeks(weeks.lake, WORKFLOW)
    assert "door, 10 weeks" in page and "9 weeks decided" in page and page.count("<figure>") == 7
    assert "<script" not in page and not re.search(r'(src|href)="https?:', page) and "Pay order" not in page
    assert "<a " not in page, "no week has a page of its own yet"


def test_a_workflow_without_weeks_says_what_to_run(lake: Lake):
    with pytest.raises(FlywheelError, match="has no week yet"):
        render_weeks(lake, WORKFLOW)
