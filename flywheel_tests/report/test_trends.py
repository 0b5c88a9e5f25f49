"""What the plots show is right before it is drawn: rates with intervals, comparable weeks, costs that are not counted twice."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flywheel.lake import Lake
from flywheel.report.conditions import FAILURES, Conditions, breaks, marks
from flywheel.report.trend_figures import bucket_figure, recurrence_figure, trend_figures
from flywheel.report.trends import trends
from flywheel.report.weekly_axes import mondays, runs, week_label
from flywheel.statistics.rates import per_thousand, rate_ratio
from flywheel_tests.report.conftest import Weeks
from flywheel_tests.report.synthetic import WORKFLOW, correct, production

WEEKS = ["2026-01-05", "2026-01-12", "2026-01-19"]


def test_a_line_stops_at_gaps_and_at_breaking_marks_only():
    values = [1.0, 2.0, None, 3.0, 4.0, 5.0]
    assert runs(values, [[]] * 6) == [[0, 1], [3, 4, 5]]
    broken = [[], [], [], [], ["other scorer"], ["cases added, core unchanged"]]
    assert runs(values, broken) == [[0, 1], [3], [4, 5]]
    assert runs([None, None], [[], []]) == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.just(1.0),
            st.lists(st.sampled_from(["other scorer", "cases added, core unchanged"]), max_size=2),
        )
    )
)
def test_every_known_week_is_in_one_stretch_and_no_stretch_hides_a_break(weeks: list[tuple[float | None, list[str]]]):
    values, labels = [value for value, _ in weeks], [marked for _, marked in weeks]
    found = runs(values, labels)
    assert [place for run in found for place in run] == [
        place for place, value in enumerate(values) if value is not None
    ]
    for run in found:
        assert run == list(range(run[0], run[-1] + 1)) and not any(breaks(labels[place]) for place in run[1:])


def test_a_change_is_seen_across_weeks_that_recorded_nothing():
    known = {
        "w1": Conditions(detectors="1"),
        "w2": Conditions(),
        "w3": Conditions(detectors="2"),
        "w4": Conditions("2"),
    }
    assert marks(known, FAILURES) == {"w1": [], "w2": [], "w3": ["other detectors"], "w4": []}
    assert breaks(["other tools"]) and not breaks([])


def test_rates_per_thousand_are_exact_and_none_is_not_never():
    rate, low, high = per_thousand(5, 200)
    assert rate == 25 and 1 - stats.poisson.cdf(4, low * 0.2) == pytest.approx(0.025)
    assert stats.poisson.cdf(5, high * 0.2) == pytest.approx(0.025)
    assert per_thousand(0, 100)[:2] == (0, 0) and per_thousand(0, 100)[2] == pytest.approx(36.89, abs=0.01)


def test_the_ratio_of_two_rates_has_an_exact_interval():
    ratio, low, high = rate_ratio((5, 100), (50, 100))
    assert ratio == pytest.approx(0.1) and low < 0.1 < high < 0.26
    assert rate_ratio((50, 100), (50, 100))[1] < 1 < rate_ratio((50, 100), (50, 100))[2]
    assert math.isinf(rate_ratio((3, 100), (0, 100))[2])


def test_recurrence_is_two_weeks_later_by_the_adapter_that_served(lake: Lake):
    production(lake, WEEKS[0], "base", {"wrong_arguments": 40, "loop": 9})
    production(lake, WEEKS[1], "base", {"wrong_arguments": 35})
    production(lake, WEEKS[2], "base", {"wrong_arguments": 4})
    correct(lake, WEEKS[0], {"wrong_arguments": 5, "loop": 1}, hours=1.0)
    (found,) = trends(lake, WORKFLOW).recurrences
    assert (found.week, found.later, found.clusters, found.adapter_id) == (WEEKS[0], WEEKS[2], 1, "base")
    assert (found.before, found.after, found.comparable) == ((40, 200), (4, 200), True)
    production(lake, WEEKS[2], "another", {"wrong_arguments": 4}, detectors="9")
    (found,) = trends(lake, WORKFLOW).recurrences
    assert found.adapter_id == "all" and not found.comparable and found.changed == ["other detectors"]
    assert found._replace(changed=["other tools"]).comparable, "a tool's own clusters stay what they were"
    assert "not comparable: other detectors" in recurrence_figure(trends(lake, WORKFLOW))


def test_cost_counts_a_stage_once_and_unknown_time_is_not_zero(weeks: Weeks):
    cost = trends(weeks.lake, WORKFLOW).cost
    first, undecided = cost.row(0, named=True), cost.row(6, named=True)
    assert first["expert_hours"] == pytest.approx(2.5) and (first["items"], first["corrections"]) == (18, 18)
    assert (first["training"], first["evaluation"], first["data"]) == (300.0, 40.0, 38.0) and first["money"] == 150.0
    assert undecided["expert_hours"] is None and undecided["money"] is None and undecided["training"] == 0


def test_the_mix_keeps_its_denominator_and_folds_small_buckets(weeks: Weeks):
    found = trends(weeks.lake, WORKFLOW, weeks.mondays[2])
    assert found.buckets["failures"].sum() > 0 and set(found.runs) == set(weeks.mondays[:3])
    html = bucket_figure(found)
    assert "all others" in html and f"{found.buckets['failures'].sum():,} failures in 1,200 runs" in html
    assert "failures per 100 runs" in html and 'role="img" aria-label="Failures per 100 runs' in html


def test_speed_is_that_of_what_serves_in_its_own_week(weeks: Weeks):
    speed = trends(weeks.lake, WORKFLOW).speed
    assert weeks.mondays[6] not in set(speed["week"]), "nothing was evaluated in that week"
    one = speed.filter(week=weeks.mondays[0]).row(0, named=True)
    assert (one["adapter_id"], one["steps"], one["prompt_tokens"], one["completion_tokens"]) == (
        "adapter-01",
        80,
        200,
        20,
    )
    assert (one["p50"], one["p95"]) == (2.0, 3.0)


def test_nothing_known_draws_nothing(lake: Lake):
    assert trend_figures(trends(lake, WORKFLOW)) == ""
    assert isinstance(trends(lake, WORKFLOW).cost, pl.DataFrame)


def test_a_week_without_a_value_keeps_its_place():
    assert mondays("2026-01-05", "2026-01-26") == ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26"]
    assert mondays("2026-01-05", "2026-01-05") == ["2026-01-05"]


def test_weeks_are_named_so_that_they_fit():
    assert week_label("2026-02-02") == "2 Feb" and week_label("2026-02-02", with_year=True) == "2 Feb\n2026"
    assert week_label("2026-01-05").endswith("2026")
