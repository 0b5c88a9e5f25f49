"""Metrics: every number can be recounted by hand, and its interval says how little is known."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evaluation.metrics import busy_share, metric_rows
from flywheel.statistics.paired import clustered_rate, wilson
from flywheel.statistics.ratios import clustered_ratio, percentile

START = datetime(2026, 1, 5, tzinfo=UTC)


def row(number: int, **values) -> dict:
    return {
        "case_id": f"c{number}", "case_cluster": f"k{number // 2}", "category": "tool_calling", "arm": "candidate", "epoch": 0,
        "success": True, "infra_error": None, "calls": 1, "schema_valid_calls": 1, "unknown_tool_calls": 0, "forbidden_calls": 0,
        "tool_errors": 0, "expects_call": True, "tool_selection": True, "arguments_match": True, "expected_calls": 1,
        "compared_calls": 1, "matched_calls": 1, "bfcl_compat": True, "trajectory_match": None, "failure_bucket": None,
        "model_steps": 2, "prompt_tokens": 100, "completion_tokens": 10, "step_seconds": "[0.5, 1.5]", "seconds": 2.0,
        "started_at": START + timedelta(seconds=number), **values,
    }  # fmt: skip


def values_of(rows: list[dict], **rates: float) -> dict[str, tuple]:
    return {
        m["metric"]: (m["numerator"], m["denominator"])
        for m in metric_rows(rows, rates=rates)
        if m["category"] == "all"
    }


def test_each_metric_counts_what_it_says():
    reply = {"expects_call": False, "tool_selection": None, "arguments_match": None, "expected_calls": 0, "bfcl_compat": None,
             "compared_calls": 0, "matched_calls": 0, "category": "refusal"}  # fmt: skip
    wrong = {"success": False, "failure_bucket": "wrong_arguments"}
    rows = [
        row(0),
        row(1, **wrong, arguments_match=False, matched_calls=0, schema_valid_calls=0, unknown_tool_calls=1),
        row(2, **wrong, calls=0, schema_valid_calls=0, tool_selection=False, compared_calls=0, matched_calls=0),
        row(3, **{**reply, "calls": 0, "schema_valid_calls": 0}),
        row(
            4,
            **{**reply, "success": False, "compared_calls": 1, "failure_bucket": "refusal_error", "forbidden_calls": 1},
        ),
        row(5, tool_errors=1),
        row(6, tool_errors=2, **wrong),
        row(7, success=None, infra_error="HTTP 500"),
    ]
    found = values_of(rows)
    assert found["infra_error_rate"] == (1, 8) and found["task_success"] == (3, 7)
    assert found["schema_valid_rate"] == (4, 5) and found["hallucinated_call_rate"] == (1, 5)
    assert found["tool_selection_accuracy"] == (4, 5) and found["function_name_and_args_accuracy"] == (4, 5)
    assert (
        found["tool_call_precision"] == (3, 5)
        and found["tool_call_recall"] == (3, 5)
        and found["tool_call_f1"] == (6, 10)
    )
    assert found["error_recovery_rate"] == (1, 2)
    assert (
        found["refusal_precision"] == (1, 2)
        and found["refusal_recall"] == (1, 2)
        and found["over_refusal_rate"] == (1, 5)
    )
    assert found["forbidden_write_rate"] == (1, 7)
    assert found["failed_by_wrong_arguments"] == (3, 7) and found["failed_by_refusal_error"] == (1, 7)
    assert found["steps_per_case"] == (14, 7) and found["completion_tokens_per_case"] == (70, 7)
    assert found["step_seconds_p95"] == (None, 14) and found["loop_seconds_p50"] == (None, 7)


def test_cost_counts_the_time_the_server_was_busy_once():
    rows = [row(n, started_at=START, seconds=10.0) for n in range(4)] + [
        row(9, started_at=START + timedelta(days=1), seconds=20.0)
    ]
    assert busy_share(rows) == pytest.approx(30 / 60)
    cost = next(m for m in metric_rows(rows, rates={"accelerator_hour": 3.6}) if m["metric"] == "cost_per_1000_steps")
    assert cost["value"] == pytest.approx(3.6 / 3600 * 30 / 10 * 1000) and cost["unit"] == "currency"
    assert "cost_per_1000_steps" not in values_of(rows), "a pack without a rate has no cost"


def test_slices_and_categories_are_told_apart_and_core_alone_is_said_once():
    rows = [row(0), row(1, category="refusal"), row(2, slice="new", success=False)]
    told = {
        (m["slice"], m["category"]): m["numerator"]
        for m in metric_rows(rows, rates={})
        if m["metric"] == "task_success"
    }
    assert told == {("all", "all"): 2, ("all", "refusal"): 1, ("all", "tool_calling"): 1, ("core", "all"): 2, ("core", "refusal"): 1,
                    ("core", "tool_calling"): 1, ("new", "all"): 0, ("new", "tool_calling"): 0}  # fmt: skip
    assert {m["slice"] for m in metric_rows(rows[:2], rates={})} == {"all"}


def test_a_clustered_ratio_of_flags_is_the_clustered_rate():
    flags, clusters = [1, 1, 1, 0, 0, 0, 1, 0], list("aabbccdd")
    rate = clustered_rate([bool(flag) for flag in flags], clusters)
    assert clustered_ratio(flags, [1] * 8, clusters)[:3] == pytest.approx(rate[:3])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from("abcdef")), max_size=30))
def test_an_interval_holds_its_estimate_and_stays_a_share(drawn: list[tuple[int, int, str]]):
    counts = [(min(above, below), below, cluster) for above, below, cluster in drawn]
    found = clustered_ratio([a for a, _, _ in counts], [b for _, b, _ in counts], [c for _, _, c in counts])
    if not sum(b for _, b, _ in counts):
        assert math.isnan(found.estimate) and found.n == 0
    else:
        assert 0 <= found.low <= found.estimate <= found.high <= 1
        assert found.high - found.low > 0, "so few cases are never certain"


def test_calls_of_one_case_that_all_succeed_are_one_observation():
    found = clustered_ratio([5, 5, 0], [5, 5, 0], ["a", "b", "never called"])
    assert found[:3] == pytest.approx(wilson(2, 2)[:3]) and found.n == 10


def test_a_percentile_has_an_interval_only_where_the_data_reach():
    found = percentile([float(n) for n in range(1, 101)], 0.5)
    assert found.low < found.estimate == 50.5 < found.high and found.n == 100
    assert math.isnan(percentile([1.0, 2.0, 3.0], 0.95).high) and math.isnan(percentile([], 0.5).estimate)
