"""The failures section: denominators everywhere, whose fault, and a broken line where the detectors changed."""

from typing import Any

import polars as pl

from flywheel.lake import Lake
from flywheel.report.corrections import fixed_rows
from flywheel.report.facts import FailureRate, week_facts
from flywheel.report.failures import failure_figure, failures_section
from flywheel_tests.defs.test_stages import trace

WEEK, WEEK_AFTER = "2026-01-05", "2026-01-12"


def failure(number: int, fault: str, tool: str | None) -> dict[str, Any]:
    return {
        "failure_id": f"f{number}", "trace_id": f"t{number}", "message_index": 1, "bucket": "wrong_arguments", "sub_kind": "s", "fault": fault,
        "severity": "major", "tool": tool, "first_error": "e", "failure_cluster": "c", "evidence": "[]", "tags": "[]", "adapter_id": "base",
        "principal_ref": None, "tenant_id": None,
    }  # fmt: skip


def cluster(**changed: Any) -> dict[str, Any]:
    return {
        "failure_cluster": "c", "tool": "pay", "bucket": "wrong_arguments", "failures": 3, "agent_failures": 2, "opportunities": 8, "per_1000": 375.0,
        "by_adapter": "{}", "status": "come_back", "fixed_by": None, "first_seen_week": WEEK, "last_seen_week": WEEK, "example": "said so", **changed,
    }  # fmt: skip


def section(lake: Lake) -> str:
    return failures_section(week_facts(lake, "door", WEEK))


def test_every_number_has_its_denominator(lake: Lake):
    lake.replace_partition("production_traces", [trace(n) for n in range(10)], workflow="door", week=WEEK)
    rows = [failure(0, "agent", "pay"), failure(1, "agent", "pay"), failure(2, "environment", "pay")]
    lake.replace_partition("production_failures", rows, workflow="door", week=WEEK, code_version="1")
    lake.replace_partition("failure_clusters", [cluster()], workflow="door", week=WEEK)
    page = section(lake)
    for expected in (
        "3 of 10 = 30.0%",
        "2 of 10 = 20.0%",
        "1 of 3 = 33.3%",
        "1 environment",
        "2 of 8 = 25.0%",
        "come back",
        "375 of 8 runs",
    ):
        assert expected in page, expected
    assert "said so" in page and "No inbox record was refused" in page


def test_refusals_are_counted_by_reason_with_their_remedy(lake: Lake):
    rows = [
        {"source_file": "a", "source_line": n, "position": 0, "byte_offset": 0, "reason_code": "invalid_json", "detail": "d", "remedy": "mend it", "line": ""}
        for n in range(2)
    ]  # fmt: skip
    lake.replace_partition("quarantined_records", rows, workflow="door", week=WEEK)
    assert "mend it" in section(lake) and "No traces this week" in section(lake)


def test_a_fixed_cluster_names_what_fixed_it(lake: Lake):
    lake.replace_partition("production_traces", [trace(1)], workflow="door", week=WEEK)
    lake.replace_partition(
        "production_failures", [failure(1, "agent", None)], workflow="door", week=WEEK, code_version="1"
    )
    gone = cluster(failure_cluster="old", failures=0, status="fixed", fixed_by="adapter-7")
    lake.replace_partition("failure_clusters", [cluster(), gone], workflow="door", week=WEEK)
    assert "Fixed: old, by adapter-7." in section(lake)


def test_no_line_crosses_a_change_of_detectors():
    changed = [[], [], ["other detectors"]]
    weeks = [FailureRate(f"2026-01-{5 + 7 * n:02d}", 100, 20, 10, marks) for n, marks in enumerate(changed)]
    broken = failure_figure(weeks)
    assert broken.count(">other detectors<") == 2, "beside the mark, and in the table"
    assert "other detectors" not in failure_figure(weeks[:2]) and "10 of 100 = 10.0%" in broken
    assert failure_figure(weeks) == broken, "same rows, same bytes"


def test_a_fixed_failure_has_its_price_and_unknown_costs_have_none():
    def rows(week: str, *clusters: dict[str, Any]) -> pl.DataFrame:
        return pl.DataFrame([{**one, "week": week, "last_seen_week": "2026-01-05"} for one in clusters])

    seen = rows("2026-01-05", cluster(failures=8, status="new"), cluster(failure_cluster="d", failures=2, status="new"))
    gone = rows(
        WEEK_AFTER, cluster(failures=0, status="fixed", fixed_by="a"), cluster(failure_cluster="d", status="persisting")
    )
    both = pl.concat([seen, gone], how="vertical_relaxed")
    cost = pl.DataFrame({"week": ["2026-01-05", WEEK_AFTER], "figure": ["cost", "cost"], "value": [30.0, 10.0]})
    ((_, price, removed, note),) = fixed_rows(both, cost, WEEK_AFTER)
    assert (price, removed) == ("5.00", 8) and "8 failures a week of 1 clusters" in note
    assert fixed_rows(both, cost.clear(), WEEK_AFTER) == []
    ((_, price, _, _),) = fixed_rows(seen, cost, "2026-01-05")
    assert price == "no cluster is fixed yet"
