"""The weekly page: whole without a decision, inert whatever the traces say, and self-contained."""

import re

import polars as pl
import pytest

from flywheel.lake import Lake
from flywheel.report.corrections import cost_rows
from flywheel.report.facts import week_facts
from flywheel.report.page import render
from flywheel_tests.defs.test_stages import trace
from flywheel_tests.report.conftest import Weeks

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


def test_quality_and_cost_of_the_corrections_are_shown_and_unknown_is_said_so(lake: Lake):
    assert "Corrections: quality and cost" not in render(week_facts(lake, "door", WEEK))
    figures = {
        "gold_pass_rate": 0.8,
        "agreement_tool": None,
        "cost": 100.0,
        "cost_per_accepted": 2.5,
        "accelerator_hour": 2.0,
    }
    quality = [
        {"figure": name, "value": value, "low": None, "high": None, "n": 5, "note": HOSTILE}
        for name, value in figures.items()
    ]
    lake.replace_partition("correction_quality", quality, workflow="door", week=WEEK)
    effort = {"grouping": "person", "name": HOSTILE, "role": "annotator", "items": 3, "decisions": 4, "timed": 0, "active_seconds": None,
              "seconds_to_first_edit": None, "accepted_as_is": 1, "changed": 3, "returned": 0, "edit_distance": 1.5, "cost": None}  # fmt: skip
    lake.replace_partition("correction_effort", [effort], workflow="door", week=WEEK)
    facts = week_facts(lake, "door", WEEK)
    page = render(facts)
    assert "Corrections: quality and cost" in page and "80%" in page and "unknown" in page and "<script" not in page
    trained = facts.tables["checkpoint"].clear(1).with_columns(seconds=180.0)
    assert cost_rows(facts.tables["correction_quality"], trained)[-1][1] == "1,000 to 1"


def test_nothing_is_loaded_from_anywhere(lake: Lake):
    page = render(week_facts(lake, "door", WEEK))
    assert "default-src 'none'" in page and not re.search(r'(src|href)="https?:', page)


def test_what_the_adapter_forgot_is_shown_with_its_interval_and_what_was_not_measured_says_so(lake: Lake):
    facts = week_facts(lake, "door", WEEK)
    trained = (
        facts.tables["checkpoint"]
        .clear(1)
        .with_columns(
            adapter_id=pl.lit("a"),
            log=pl.lit('[{"stage": "SFT", "step": 1, "steps": 1, "loss": 2.0, "seconds": 1.0, "validation": false}]'),
            seconds=1.0,
            sharing=pl.lit("tree"),
            tokens=100,
            tokens_computed=20,
            forgetting_nats=0.325,
            forgetting_low=0.273,
            forgetting_high=0.388,
        )
    )
    page = render(facts._replace(tables={**facts.tables, "checkpoint": trained}))
    assert "20 of 100 (5.0 times fewer)" in page
    assert "+0.325 nats a token (95 % +0.273 to +0.388)" in page and "not measured: no accepted step" in page


@pytest.fixture(scope="module")
def page(weeks: Weeks) -> str:
    """The page of the fifth of ten weeks, drawn once."""
    return render(week_facts(weeks.lake, "door", weeks.mondays[4]))


def test_weeks_are_plotted_with_their_n_their_words_and_the_table_behind_them(page: str, weeks: Weeks):
    assert "n = 40; core" in page and "other tools" in page and "cases solved, %" in page
    assert 'aria-label="What serves solved 12.5% (0.0% to 27.4%) of 40 cases' in page
    assert "after 2026-02-02; 3 of 5 decided weeks promoted" in page and weeks.mondays[5] not in page
    assert "What it cost" in page and "data to compute: experts over accelerator" in page
    assert page.count("<details>") == page.count("<figure>") == page.count('role="img"')


def test_the_top_says_the_verdict_what_serves_and_where_to_look(page: str):
    top = page[: page.index("Benchmark")]
    assert (
        "Adapter adapter-05 breaks a rule of the gate" in top
        and "Adapter adapter-04 serves since 26 January 2026" in top
    )
    asks = top.index("What to do next")
    assert top.index("Adapter adapter-05") < asks < top.index("<h3>Why</h3>"), "after the sentence, before the reasons"
    assert "correct 21 runs like it (they train the right steps and pairs against what the model did)" in top
    assert "12 were accepted this week" in top and "7 of 20" in top
    assert "Cases that changed" in page and page.index("regressed</strong>") < page.index("fixed</strong>")


def test_no_plot_is_empty(lake: Lake):
    assert "Week over week" not in render(week_facts(lake, "door", WEEK))
