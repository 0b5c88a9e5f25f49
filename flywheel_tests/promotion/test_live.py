"""After the switch: who carries the adapter, what got worse, what came back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flywheel.promotion.live import canary_period, carried, shown
from flywheel.promotion.recurrence import newest
from flywheel.promotion.releases import Releases
from flywheel.toolcalls.arguments import canonical_json
from flywheel_tests.promotion.house import WEEKS, blank, decide, make_adapter, make_house

LATE = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def acts(tmp_path: Path) -> Releases:
    return make_house(tmp_path)


def week(
    acts: Releases,
    name: str,
    served: dict[str, int],
    failed: dict[tuple[str, str], int],
    environment: str = "simulated",
) -> None:
    """A week of production: runs by adapter, and agent failures by (adapter, bucket); a person has two runs."""
    runs, failures = [], []
    for adapter, count in served.items():
        rows = [blank("production_traces", trace_id=f"{name}-{adapter}-{n}", adapter_id=adapter, principal_ref=f"p{n // 2}", shard=0,
                      environment=environment, started_at=LATE) for n in range(count)]  # fmt: skip
        runs += rows
        taken = 0
        for (who, bucket), wrong in failed.items():
            if who == adapter:
                failures += [
                    blank("production_failures", failure_id=f"{row['trace_id']}-{bucket}", trace_id=row["trace_id"], adapter_id=adapter,
                          bucket=bucket, tool="open_door", fault="agent", failure_cluster=f"open_door · {bucket}")
                    for row in rows[taken : taken + wrong]
                ]  # fmt: skip
                taken += wrong
    acts.lake.replace_partition("production_traces", runs, workflow="door", week=name)
    acts.lake.replace_partition("production_failures", failures, workflow="door", week=name)


def test_runs_that_do_not_carry_the_released_adapter_are_told_with_counts(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    assert carried(acts.lake, "door", acts.log()) is None, "nothing moved yet"
    week(acts, WEEKS[0], {"base": 40}, {})
    decide(acts, WEEKS[0], adapter, automatic=True)
    seen = carried(acts.lake, "door", acts.log())
    assert seen and (seen.state, seen.runs) == ("no_runs_yet", 0), "its own week was served by the one before"
    week(acts, WEEKS[1], {"base": 40}, {})
    seen = carried(acts.lake, "door", acts.log())
    assert seen and (seen.state, seen.runs, seen.others) == ("promoted_but_not_served", 40, {"base": 40})
    week(acts, WEEKS[1], {"base": 30, adapter: 10}, {}, environment="production")
    seen = carried(acts.lake, "door", acts.log())
    assert seen and (seen.state, seen.carrying) == ("partly_served", 10)
    week(acts, WEEKS[1], {adapter: 40}, {}, environment="production")
    assert (seen := carried(acts.lake, "door", acts.log())) and seen.state == "served"
    early = blank(
        "production_traces",
        trace_id="t",
        adapter_id="base",
        shard=0,
        environment="production",
        started_at=datetime(2026, 1, 13, tzinfo=UTC),
    )
    acts.lake.replace_partition("production_traces", [early], workflow="door", week=WEEKS[1])
    assert (seen := carried(acts.lake, "door", acts.log())) and seen.state == "no_runs_yet", (
        "that run was before the release"
    )


def test_a_live_regression_is_found_and_names_the_way_back(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    week(acts, WEEKS[0], {"base": 200}, {("base", "wrong_arguments"): 20, ("base", "bad_recovery"): 8})
    decide(acts, WEEKS[0], adapter, automatic=True)
    assert canary_period(acts.lake, "door", acts.log()) is None, "no run of the new one yet"
    week(acts, WEEKS[1], {adapter: 200}, {(adapter, "wrong_arguments"): 60, (adapter, "bad_recovery"): 7})
    period = canary_period(acts.lake, "door", acts.log())
    assert period and period.simulated and (period.before, period.after) == ("base", adapter)
    verdicts = {(row.kind, row.name): row.verdict for row in period.compared}
    assert verdicts["all", "all runs"] == verdicts["bucket", "wrong_arguments"] == "worse"
    assert verdicts["bucket", "bad_recovery"] == "no difference seen"
    assert verdicts["failure_cluster", "open_door · wrong_arguments"] == "worse"
    said = period.sentence("door")
    assert said.startswith("LIVE REGRESSION (all runs, wrong_arguments") and "flywheel rollback --workflow door" in said
    assert "335 (67 of 200)" in said and "140 (28 of 200)" in said
    assert shown(period)[0]["what"] == "all runs"
    assert canary_period(acts.lake, "door", acts.log(), until=WEEKS[0]) is None


def test_a_better_adapter_is_called_better_and_a_few_runs_nothing(acts: Releases):
    adapter = make_adapter(acts.settings, 1)
    week(acts, WEEKS[0], {"base": 200}, {("base", "wrong_arguments"): 60})
    decide(acts, WEEKS[0], adapter, automatic=True)
    week(acts, WEEKS[1], {adapter: 20}, {(adapter, "wrong_arguments"): 20})
    period = canary_period(acts.lake, "door", acts.log())
    assert period and {row.verdict for row in period.compared} == {"too few runs"} and not period.regressions
    week(acts, WEEKS[1], {adapter: 200}, {(adapter, "wrong_arguments"): 4})
    period = canary_period(acts.lake, "door", acts.log())
    assert period and {row.verdict for row in period.compared} == {"better"}


def test_corrected_failures_that_come_back_are_counted_two_weeks_later(acts: Releases):
    def clusters(name: str, **counts: tuple[int, int]) -> None:
        rows = [blank("failure_clusters", failure_cluster=cluster, tool="t", bucket="b", failures=failed, agent_failures=failed,
                      opportunities=runs, by_adapter=canonical_json({"a": [failed, runs]})) for cluster, (failed, runs) in counts.items()]  # fmt: skip
        acts.lake.replace_partition("failure_clusters", rows, workflow="door", week=name)

    clusters(WEEKS[0], one=(20, 100), two=(30, 100), other=(9, 100))
    corrected = [
        blank("corrected_traces", correction_id=name, failure_cluster=name) for name in ("one", "two", "unflagged")
    ]
    acts.lake.replace_partition("corrected_traces", corrected, workflow="door", week=WEEKS[0])
    clusters(WEEKS[1], one=(9, 100))
    assert newest(acts.lake, "door") is None, "one week later is too early"
    clusters(WEEKS[2], one=(0, 100), two=(5, 100), other=(90, 100))
    found = newest(acts.lake, "door")
    assert found and (found.clusters, found.before, found.after, found.adapter_id) == (2, (50, 200), (5, 200), "all")
    assert found.came_back == [("two", 5, 100)] and "recurrence 0.10 (95 % interval 0.03 to 0.25)" in found.sentence()
    assert newest(acts.lake, "door", until=WEEKS[1]) is None
    clusters(WEEKS[2], one=(0, 100), two=(0, 100))
    assert (
        (found := newest(acts.lake, "door"))
        and "recurrence 0.00 (95 % interval 0.00 to" in found.sentence()
        and not found.came_back
    )
