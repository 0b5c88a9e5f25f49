"""The weekly page says how far people agree with the program, and keeps what they wrote inert."""

from flywheel.lake import Lake
from flywheel.report.facts import week_facts
from flywheel.report.human_review import human_review_section

WEEK = "2026-01-05"


def test_agreement_and_disputes_are_shown_with_intervals_and_an_unknown_says_so(lake: Lake):
    assert human_review_section(week_facts(lake, "door", WEEK).tables) == ""
    figures = [
        {"figure": "agreement", "value": 0.9, "low": 0.78, "high": 0.97, "n": 40, "note": "clustered by case"},
        {"figure": "kappa", "value": None, "low": None, "high": None, "n": 40, "note": "nothing ever differs"},
    ]
    dispute = {
        "output_id": "0", "case_id": "open-1", "epoch": 0, "category": "refusal", "fault": "grader", "program_success": True,
        "failure_reason": None, "human_success": False, "raters": "ann", "comments": "<script>alert(1)</script>\u202e",
    }  # fmt: skip
    lake.replace_partition("evaluation_review", figures, workflow="door", week=WEEK)
    lake.replace_partition("evaluation_disagreements", [dispute], workflow="door", week=WEEK)
    page = human_review_section(week_facts(lake, "door", WEEK).tables)
    assert "90% (78% to 97%)" in page and "unknown" in page and "open-1" in page and "1 outputs where" in page
    assert "<script" not in page and "\u202e" not in page
