"""What a run of weeks says of the scores and forecasts that reach into the next weeks."""

import pytest

from flywheel.demo import weeks_summary
from flywheel.lake import Lake
from flywheel_tests.report.synthetic import WORKFLOW
from flywheel_tests.report.test_prequential import WEEKS, two_arms
from flywheel_tests.report.test_value import WEEKS as FIVE
from flywheel_tests.report.test_value import shrinking


def test_scores_and_forecasts_are_told_with_their_intervals_or_that_there_are_none(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(weeks_summary, "WORKFLOW", WORKFLOW)
    none, no_forecast = weeks_summary._next_weeks(lake, FIVE)
    assert "no week is scored yet" in none and "no forecast is two weeks old" in no_forecast
    shrinking(lake)
    two_arms(lake, WEEKS[1])
    scored, held = weeks_summary._next_weeks(lake, FIVE)
    assert "Prequential score of 1 weeks" in scored and "checkpoint 3 of 4: 75% (" in scored
    assert "untouched clusters inside their 95 % interval" in held
