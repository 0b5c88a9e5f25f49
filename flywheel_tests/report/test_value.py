"""The worth of hours, the check of earlier forecasts, and cycle time, on weeks whose outcome is known."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.report.cycle_time import OWN, cycles, stretches, week_end
from flywheel.report.trends import trends
from flywheel.report.value import CORRECTED, UNTOUCHED, calibration, pairs_of, value
from flywheel.report.value_section import forecast_figure, next_hours, next_hours_section
from flywheel_tests.report.conftest import Weeks
from flywheel_tests.report.synthetic import WORKFLOW, correct, move, production, row

WEEKS = ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02"]


def shrinking(lake: Lake) -> None:
    """Five weeks: loops are corrected in the first and all but vanish, refusals are left alone and stay."""
    for number, week in enumerate(WEEKS):
        loops = 40 if number < 2 else 2
        production(lake, week, "base" if number < 1 else "a1", {"loop": loops, "refusal": 30, f"new {number}": 10})
    correct(lake, WEEKS[0], {"loop": 8}, hours=2.0)


def by_bucket(lake: Lake, week: str, bucket: str, minutes: float) -> None:
    rows = [row("correction_effort", grouping="bucket", name=bucket, role=role, items=1, decisions=1, timed=1, active_seconds=30 * minutes,
                accepted_as_is=0, changed=1, returned=0) for role in ("annotator", "reviewer")]  # fmt: skip
    lake.replace_partition("correction_effort", rows, workflow=WORKFLOW, week=week)


def test_only_the_groups_own_past_counts(lake: Lake):
    shrinking(lake)
    found = trends(lake, WORKFLOW)
    counted = lake.read_weeks("failure_clusters", workflow=WORKFLOW)
    pairs = pairs_of(counted, lake.read_weeks("corrected_traces", workflow=WORKFLOW), found.marks)
    treated = [pair for pair in pairs if pair.group == CORRECTED]
    assert [(pair.cluster, pair.before, pair.after, pair.expected) for pair in treated] == [
        ("pay · loop", (40, 200), (2, 200), 40.0)
    ]
    left = {(pair.week, pair.cluster) for pair in pairs if pair.group == UNTOUCHED}
    assert left == {(week, "pay · refusal") for week in WEEKS[:3]}, "what was corrected once is untouched no more"
    other = {week: (["other detectors"] if week == WEEKS[2] else []) for week in WEEKS}
    assert not [
        pair
        for pair in pairs_of(counted, lake.read_weeks("corrected_traces", workflow=WORKFLOW), other)
        if pair.week == WEEKS[0]
    ]


def test_hours_are_worth_more_where_more_fails_and_no_more_than_their_corrections(lake: Lake):
    shrinking(lake)
    by_bucket(lake, WEEKS[0], "loop", minutes=64.0)  # eight corrections in that time: eight minutes each
    known = value(lake, WORKFLOW, trends(lake, WORKFLOW))
    assert known is not None and known.week == WEEKS[-1] and known.typical_corrections == 8
    worth = {one.cluster: one for one in known.worth}
    refusal = worth["pay · refusal"]
    assert (refusal.minutes, refusal.corrections, refusal.in_flight) == (8.0, 15, 0), "of no timed bucket: that of all"
    assert 0 < refusal.removed.mean < 30 and refusal.removed.low < refusal.removed.mean < refusal.removed.high
    assert known.worth[0].cluster == "pay · refusal" and worth["pay · loop"].failures == 2
    fewer = worth["pay · loop"].removed.mean / worth["pay · loop"].failures
    assert fewer == pytest.approx(refusal.removed.mean / 30 * 2 / 8), "two of the eight that past clusters got"
    ratio, clusters = known.recurrence[CORRECTED]
    assert clusters == 1 and ratio.mean < known.recurrence[UNTOUCHED][0].mean


def test_a_forecast_knows_only_what_was_over(lake: Lake):
    shrinking(lake)
    found = trends(lake, WORKFLOW)
    pairs = pairs_of(
        lake.read_weeks("failure_clusters", workflow=WORKFLOW),
        lake.read_weeks("corrected_traces", workflow=WORKFLOW),
        found.marks,
    )
    held = {(one.week, one.group): one for one in calibration(pairs)}
    assert held[WEEKS[0], CORRECTED].learned_from == 0 and held[WEEKS[0], CORRECTED].happened == 2
    assert [held[week, UNTOUCHED].learned_from for week in WEEKS[:3]] == [0, 0, 1]
    changed = [pair._replace(after=(150, 200)) if pair.later > WEEKS[2] else pair for pair in pairs]
    assert calibration(changed)[0].forecast == calibration(pairs)[0].forecast, "the future changes no forecast"
    assert held[WEEKS[2], UNTOUCHED].inside == 1 and held[WEEKS[2], UNTOUCHED].happened == 30


def test_the_way_of_a_cluster_in_days(lake: Lake):
    shrinking(lake)
    started = [
        row("production_traces", trace_id=f"t{n}", messages="[]", started_at=datetime(2026, 1, 6, n % 24, tzinfo=UTC))
        for n in range(400)
    ]
    lake.replace_partition("production_traces", started, workflow=WORKFLOW, week=WEEKS[0])
    rows = lake.read_partition("corrected_traces", workflow=WORKFLOW, week=WEEKS[0]).drop("week", "workflow")
    made = rows.with_columns(
        annotator=pl.lit("acme/ann"), annotator_kind=pl.lit("human"), accepted_at=datetime(2026, 1, 14, tzinfo=UTC)
    )
    lake.replace_partition(
        "corrected_traces", made.cast({"accepted_at": pl.Datetime("us", "UTC")}), workflow=WORKFLOW, week=WEEKS[0]
    )
    lake.replace_partition("checkpoint", [row("checkpoint", adapter_id="a1")], workflow=WORKFLOW, week=WEEKS[0])
    move(lake, WEEKS[0], "PROMOTE", "base", "a1", datetime(2026, 1, 15, tzinfo=UTC))
    production(lake, WEEKS[3], "a1", {"loop": 0, "refusal": 30})
    production(lake, WEEKS[4], "a1", {"loop": 0, "refusal": 30})
    found = {one.cluster: one for one in cycles(lake, WORKFLOW, WEEKS)}
    loop = found["pay · loop"]
    assert (loop.seen, loop.corrected, loop.promoted, loop.gone, loop.partners) == (
        datetime(2026, 1, 6, tzinfo=UTC), datetime(2026, 1, 14, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC), week_end(WEEKS[3]), ["acme"],
    )  # fmt: skip
    assert found["pay · refusal"].corrected is None
    whole = {(one.who, one.start, one.end): one.days for one in stretches(list(found.values()), week_end(WEEKS[4]))}
    assert whole["all", "corrected", "promoted"].value == 1 and whole["all", "corrected", "promoted"].n == 1
    assert whole["all", "seen", "corrected"].value is None and whole["all", "seen", "corrected"].ended == 1
    production(lake, WEEKS[4], "a1", {"loop": 1, "refusal": 30})
    assert {one.cluster: one for one in cycles(lake, WORKFLOW, WEEKS)}["pay · loop"].gone is None, "it came back"


def test_simulated_people_have_no_clock(lake: Lake):
    shrinking(lake)
    rows = lake.read_partition("corrected_traces", workflow=WORKFLOW, week=WEEKS[0]).drop("week", "workflow")
    made = rows.with_columns(
        annotator_kind=pl.lit("simulated"), accepted_at=pl.lit(datetime(2031, 1, 1, tzinfo=UTC)).dt.cast_time_unit("us")
    )
    lake.replace_partition("corrected_traces", made, workflow=WORKFLOW, week=WEEKS[0])
    loop = next(one for one in cycles(lake, WORKFLOW, WEEKS) if one.cluster == "pay · loop")
    assert loop.corrected == week_end(WEEKS[0]) and loop.partners == [OWN]


def test_the_pages_show_all_three_and_stay_silent_without_failures(weeks: Weeks, lake: Lake):
    shown = next_hours(weeks.lake, WORKFLOW, trends(weeks.lake, WORKFLOW))
    html = next_hours_section(shown) + forecast_figure(shown)
    for words in ("Where the next 2 hours go", "removes a week (95 % interval)", "The forecasts for", "Cycle time of failure clusters",
                  "inside their 95 % interval", 'role="img"'):  # fmt: skip
        assert words in html, words
    empty = next_hours(lake, WORKFLOW, trends(lake, WORKFLOW))
    assert next_hours_section(empty) + forecast_figure(empty) == ""


def test_the_command_prints_it_as_it_was_known(weeks: Weeks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLYWHEEL_HOME", str(Path(weeks.lake.root).parent))
    monkeypatch.setenv("COLUMNS", "200")
    told = (
        CliRunner()
        .invoke(app, ["value", "--workflow", WORKFLOW, "--week", weeks.mondays[3]], catch_exceptions=False)
        .output
    )
    assert f"as known in week {weeks.mondays[3]}" in told and "pay · wrong_arguments" in told and "cycle time" in told
    with pytest.raises(FlywheelError, match="no failure was counted"):
        CliRunner().invoke(app, ["value", "--workflow", "nobody"], catch_exceptions=False)
