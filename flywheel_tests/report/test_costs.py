"""Costs: joined from what was recorded, with denominators; what nobody recorded is unknown and never nought."""

from pathlib import Path

import pytest

from flywheel.lake import Lake
from flywheel.report.costs import CostLine, cost_lines, costs_section, week_costs
from flywheel_tests.report.synthetic import WORKFLOW, row

MONDAYS = ["2026-01-05", "2026-01-12"]


def spend(lake: Lake, week: str, *, money: float | None, rate: float | None = 10.0) -> None:
    """A week of four accepted corrections, an hour of training and half an hour of evaluation."""
    figures = [row("correction_quality", figure="cost", value=money, n=4, note="")]
    figures += [row("correction_quality", figure="accelerator_hour", value=rate, n=1, note="")] if rate else []
    runs = [
        row("production_traces", trace_id=f"{week}-{n}", shard=0, input_tokens=100, output_tokens=None if n else 20)
        for n in range(3)
    ]
    effort = [row("correction_effort", grouping="person", name="ann", role="annotator", items=4, active_seconds=7200.0)]
    corrected = [row("corrected_traces", correction_id=f"{week}-{n}") for n in range(4)]
    outputs = [
        row("eval_results", case_id=f"c{n}", arm="candidate", epoch=0, prompt_tokens=50, completion_tokens=5)
        for n in range(2)
    ]
    tables = {
        "correction_quality": (figures, 0.0), "production_traces": (runs, 5.0), "correction_effort": (effort, 0.0),
        "corrected_traces": (corrected, 1.0), "eval_results": (outputs, 1800.0),
        "checkpoint": ([row("checkpoint", adapter_id=f"a-{week}", tokens=9000, tokens_computed=3000)], 3600.0),
    }  # fmt: skip
    for table, (rows, seconds) in tables.items():
        lake.replace_partition(table, rows, workflow=WORKFLOW, week=week, seconds=seconds)


def fixed(lake: Lake, week: str) -> None:
    clusters = [
        row("failure_clusters", failure_cluster="tool · wrong", failures=0, status="fixed", last_seen_week=MONDAYS[0])
    ]
    lake.replace_partition("failure_clusters", clusters, workflow=WORKFLOW, week=week)


@pytest.fixture(scope="module")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("spent") / "lake")
    for week in MONDAYS:
        spend(lake, week, money=100.0)
    seen = [
        row("failure_clusters", failure_cluster="tool · wrong", failures=5, status="new", last_seen_week=MONDAYS[0])
    ]
    lake.replace_partition("failure_clusters", seen, workflow=WORKFLOW, week=MONDAYS[0])
    fixed(lake, MONDAYS[1])
    return lake


def figures(lake: Lake, weeks: list[str] = MONDAYS, rate: float | None = None) -> dict[str, CostLine]:
    clusters = lake.read_weeks("failure_clusters", workflow=WORKFLOW)
    return {line.figure: line for line in cost_lines(week_costs(lake, WORKFLOW, weeks, rate), clusters)}


def test_hours_tokens_and_money_of_a_week_and_of_all(spent: Lake):
    found = figures(spent)
    shown = {name: (line.this_week, line.so_far) for name, line in found.items()}
    assert shown["accelerator hours: training"] == ("1.00", "2.00") and shown["accelerator hours: evaluation"] == (
        "0.50",
        "1.00",
    )
    assert shown["expert hours"] == ("2.00", "4.00")
    assert shown["tokens trained on"] == ("9,000", "18,000") and shown["tokens computed for them"] == ("3,000", "6,000")
    assert shown["tokens evaluated"] == ("110", "220")
    assert (
        shown["tokens in production"] == ("320", "640")
        and "logged in 2 of 6 runs" in found["tokens in production"].out_of
    )
    assert shown["cost of the experts"] == ("100.00", "200.00") and shown["cost of the accelerator"] == (
        "15.00",
        "30.00",
    )
    assert shown["cost per accepted correction, machine included"] == ("28.75", "28.75")
    assert found["cost per accepted correction, machine included"].out_of == "8 corrections"
    assert shown["cost per fixed failure, machine included"] == ("–", "46.00"), "230 over the five a week that stopped"
    assert found["cost per fixed failure, machine included"].out_of == "5 failures a week of 1 clusters that stopped"
    assert shown["data to compute: experts over accelerator"] == ("6.7 to 1", "6.7 to 1")
    stored = {one.week: one.stored_bytes for one in week_costs(spent, WORKFLOW, MONDAYS)}
    files = [
        path
        for path in Path(spent.root).rglob("*.parquet")
        if "_delta_log" not in path.parts and "lineage" not in path.parts
    ]
    assert sum(stored.values()) == sum(path.stat().st_size for path in files)


def test_what_nobody_recorded_is_unknown_and_says_of_how_many_weeks(lake: Lake):
    spend(lake, MONDAYS[0], money=None, rate=None)
    found = figures(lake, [*MONDAYS])
    assert (
        found["cost of the experts"][1:3] == ("unknown", "unknown") and found["cost of the accelerator"][2] == "unknown"
    )
    assert found["expert hours"].this_week == "unknown" and "1 of 2 weeks known" in found["expert hours"].out_of
    assert found["data to compute: experts over accelerator"][1:3] == ("unknown", "unknown")
    assert figures(lake, [MONDAYS[0]], rate=4.0)["cost of the accelerator"].this_week == "6.00", (
        "the pack's rate stands in"
    )
    assert cost_lines([], lake.empty("failure_clusters")) == [] and costs_section([]) == ""


def test_writing_the_page_does_not_change_what_it_says(spent: Lake):
    before = list(figures(spent).values())
    assert "What it cost" in costs_section(before) and "46.00" in costs_section(before)
    report = row("weekly_report", week_of=MONDAYS[1], path="p", html_sha256="0" * 64, learn_ran=True, note="")
    spent.replace_partition("weekly_report", [report], workflow=WORKFLOW, week=MONDAYS[1])
    assert list(figures(spent).values()) == before
