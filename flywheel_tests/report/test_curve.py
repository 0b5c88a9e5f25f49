"""The learning curve: what served, measured where, with gaps, marks and honest intervals."""

from datetime import UTC, datetime

import polars as pl
import pytest

from flywheel.lake import Lake
from flywheel.report.conditions import breaks
from flywheel.report.curve import ALL, curves_by_category, learning_curve, success_interval
from flywheel.statistics.paired import clustered_rate, wilson
from flywheel_tests.report.synthetic import WORKFLOW, arm_rows, decide, evaluate, move

WEEKS = [f"2026-01-{day:02d}" for day in (5, 12, 19, 26)]


def three_weeks(lake: Lake) -> None:
    evaluate(lake, WEEKS[0], "base", "a1", (0.1, 0.6))
    decide(lake, WEEKS[0], "PROMOTE", "base", "a1", "a1")
    evaluate(lake, WEEKS[1], "a1", "a2", (0.6, 0.3))
    decide(lake, WEEKS[1], "REJECT", "a1", "a2", "a1")
    evaluate(lake, WEEKS[3], "a1", "a3", (0.6, 0.9))
    decide(lake, WEEKS[3], "PROMOTE", "a1", "a3", "a3")


def test_it_follows_what_serves_and_starts_with_what_served_before(lake: Lake):
    three_weeks(lake)
    curve = learning_curve(lake, WORKFLOW)
    assert curve["week"].to_list() == ["2025-12-29", *WEEKS]
    assert curve["adapter_id"].to_list() == ["base", "a1", "a1", "a1", "a3"]
    assert curve["verdict"].to_list() == [None, "PROMOTE", "REJECT", None, "PROMOTE"]
    assert curve["n"].to_list() == [40, 40, 40, None, 40], "the week without a decision is a gap"
    rates = curve["success"].to_list()
    assert rates == [0.1, 0.6, 0.6, None, 0.9]
    assert curve["candidate_success"][2] == 0.3, "the rejected candidate is shown beside what serves"
    assert all(
        low <= rate <= high for low, rate, high in curve.drop_nulls("success").select("low", "success", "high").rows()
    )
    assert curve["marks"].to_list() == [[], [], [], [], []]


def test_the_interval_is_clustered_and_repeats_are_no_further_cases():
    solved = {f"c{n}": n % 4 < 2 for n in range(40)}  # whole clusters succeed or fail together
    rows = pl.DataFrame(arm_rows("candidate", "a", solved), infer_schema_length=None)
    once = success_interval(rows)
    assert once == clustered_rate(rows["success"].to_list(), rows["case_cluster"].to_list())
    assert once.high - once.low > wilson(20, 40).high - wilson(20, 40).low
    thrice = success_interval(pl.concat([rows.with_columns(epoch=pl.lit(epoch)) for epoch in range(3)]))
    assert thrice.n == 40 and thrice[:3] == pytest.approx(once[:3])
    perfect = pl.concat([rows.with_columns(success=True)] * 3)
    clusters = rows["case_cluster"].n_unique()
    assert clusters < 40 and success_interval(perfect) == wilson(clusters, clusters)._replace(n=40), (
        "thrice the same answer is not thrice the evidence, nor are cases that succeed together"
    )


def test_a_rollback_moves_the_curve_and_keeps_its_own_figures(lake: Lake):
    three_weeks(lake)
    move(lake, WEEKS[3], "ROLLBACK", "a3", "base", datetime(2026, 1, 30, tzinfo=UTC))
    last = learning_curve(lake, WORKFLOW).row(-1, named=True)
    assert (last["adapter_id"], last["measured_in"]) == ("base", WEEKS[0]) and last["success"] == 0.1
    evaluate(lake, WEEKS[3], "a1", "a3", (0.6, 0.9), scorer_version="2")
    last = learning_curve(lake, WORKFLOW).row(-1, named=True)
    assert last["success"] is None and last["marks"] == ["other scorer"], (
        "figures of another scorer are not its figures"
    )


def test_an_unreleased_promotion_does_not_serve(lake: Lake):
    evaluate(lake, WEEKS[0], "base", "a1", (0.1, 0.6))
    decide(lake, WEEKS[0], "PROMOTE", "base", "a1", "base", release="approval")
    assert learning_curve(lake, WORKFLOW)["adapter_id"].to_list() == ["base", "base"]
    move(lake, WEEKS[0], "PROMOTE", "base", "a1", datetime(2026, 1, 9, tzinfo=UTC))
    curve = learning_curve(lake, WORKFLOW)
    assert curve["adapter_id"].to_list() == ["base", "a1"] and curve["success"][1] == curve["candidate_success"][1]


def test_marks_name_what_changed_and_only_cases_beside_the_core_leave_the_line_whole(lake: Lake):
    three_weeks(lake)
    evaluate(lake, WEEKS[1], "a1", "a2", (0.6, 0.3), benchmark_version="b2")
    evaluate(lake, WEEKS[3], "a1", "a3", (0.6, 0.9), cases=44, benchmark_version="b3")
    marks = dict(learning_curve(lake, WORKFLOW).select("week", "marks").rows())
    assert marks[WEEKS[1]] == ["other tools"], "the same cases under another version ran on other tools"
    assert marks[WEEKS[3]] == ["other benchmark"] and not marks[WEEKS[2]]
    assert breaks(marks[WEEKS[1]]) and not breaks(["cases added, core unchanged"])


def test_a_change_of_tools_is_seen_beside_added_cases(lake: Lake):
    for number, (week, tools) in enumerate(zip(WEEKS, ("t1", "t1", "t2", "t2"), strict=True)):
        evaluate(
            lake, week, "base", f"a{number}", (0.1, 0.5), cases=40 + 4 * (number > 1), benchmark_version=f"b{tools}"
        )
        decide(lake, week, "REJECT", "base", f"a{number}", "base", tools_sha256=tools)
    marks = dict(learning_curve(lake, WORKFLOW).select("week", "marks").rows())
    assert marks[WEEKS[2]] == ["other tools", "other benchmark"] and not marks[WEEKS[1]] + marks[WEEKS[3]]


def test_categories_have_curves_of_their_own_and_weeks_end_where_asked(lake: Lake):
    three_weeks(lake)
    curves = curves_by_category(lake, WORKFLOW, WEEKS[1])
    assert set(curves) == {ALL, "tool_calling", "multi_step", "refusal", "recovery"}
    assert curves["refusal"]["n"].to_list() == [10, 10, 10] and curves[ALL]["week"].to_list()[-1] == WEEKS[1]


def test_no_week_gives_an_empty_frame_of_the_same_columns(lake: Lake):
    three_weeks(lake)
    assert learning_curve(lake, "other").columns == learning_curve(lake, WORKFLOW).columns
    assert learning_curve(lake, "other").is_empty()
