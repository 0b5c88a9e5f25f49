"""The weekly page: whole without a decision, inert whatever the traces say, and self-contained."""

import re

import pytest

from flywheel.lake import Lake
from flywheel.report import plots
from flywheel.report.facts import week_facts
from flywheel.report.page import render
from flywheel_tests.defs.test_stages import trace

WEEK = "2026-01-05"
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> \u202egnp.exe\x1b[31m"


def test_an_empty_week_says_so(lake: Lake):
    page = render(week_facts(lake, "door", WEEK))
    assert "No decision yet" in page and "No traces this week" in page


def test_hostile_text_stays_inert(lake: Lake):
    lake.replace_partition("production_traces", [trace(1)], workflow="door", week=WEEK)
    failure = {
        "failure_id": "f", "trace_id": "t", "message_index": 1, "bucket": "b", "sub_kind": "s", "fault": "agent", "severity": "major",
        "tool": None, "first_error": "e", "failure_cluster": HOSTILE, "evidence": "[]", "tags": "[]", "adapter_id": "base",
        "principal_ref": None, "tenant_id": None,
    }  # fmt: skip
    lake.replace_partition("production_failures", [failure], workflow="door", week=WEEK)
    page = render(week_facts(lake, "door", WEEK))
    assert "<script" not in page and "<img" not in page and "\u202e" not in page and "\x1b" not in page
    assert "1 of 1 = 100.0%" in page


def test_nothing_is_loaded_from_anywhere(lake: Lake):
    page = render(week_facts(lake, "door", WEEK))
    assert "default-src 'none'" in page and not re.search(r'(src|href)="https?:', page)


@pytest.mark.parametrize("rows", [[("only", 1)], [(f"c{n}", n) for n in range(30)]])
def test_plots_are_svg_and_the_same_each_time(rows: list[tuple[str, int]]):
    assert plots.counts(rows, "runs").startswith("<svg") and plots.counts(rows, "runs") == plots.counts(rows, "runs")
