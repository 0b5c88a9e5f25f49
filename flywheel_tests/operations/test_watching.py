"""What nobody's run reports: weeks without a decision and adapters that served too long, read from a lake of weeks."""

from datetime import UTC, datetime, timedelta

from flywheel.lake import Lake
from flywheel.operations.watching import missing_decision, serving_line, stale_incumbent
from flywheel.promotion.pointer import entry
from flywheel.workflows.pack import Pack
from flywheel_tests.defs.test_stages import trace

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19")


def collected(lake: Lake, pack: Pack, *weeks: str) -> None:
    for week in weeks:
        lake.replace_partition("production_traces", [trace(1)], workflow=pack.name, week=week)


def decide(lake: Lake, pack: Pack, week: str, before: str, after: str) -> None:
    made = entry(week, "d", "PROMOTE" if before != after else "REJECT", before, after, datetime(2026, 2, 1, tzinfo=UTC))
    lake.append_new("promotion_log", [made], workflow=pack.name)


def test_a_week_is_missed_ten_days_after_its_end_until_it_or_a_later_one_is_decided(lake: Lake, pack: Pack):
    ended = datetime(2026, 1, 19, tzinfo=UTC)  # of the week of 2026-01-12
    assert missing_decision(lake, pack, ended + timedelta(days=11)) is None, "a workflow that never started"
    collected(lake, pack, *WEEKS)
    early = missing_decision(lake, pack, ended + timedelta(days=9))
    assert early and early.week == WEEKS[0]
    found = missing_decision(lake, pack, ended + timedelta(days=11))
    assert found and found.week == WEEKS[1] and "ended 11 days ago and is not decided" in found.what
    decide(lake, pack, WEEKS[0], "base", "a")
    assert missing_decision(lake, pack, ended + timedelta(days=11)) == found, "an older decision is none"
    decide(lake, pack, WEEKS[2], "a", "a")
    assert missing_decision(lake, pack, ended + timedelta(days=11)) is None
    never = missing_decision(lake, pack, ended + timedelta(days=25))
    assert (
        never
        and never.week == "2026-01-26"
        and "was never collected" in never.what
        and "--stage collect" in never.remedy
    )


def test_what_serves_for_eight_weeks_is_told_and_rejections_do_not_renew_it(lake: Lake, pack: Pack):
    assert stale_incumbent(lake, pack, datetime(2026, 6, 1, tzinfo=UTC)) is None
    collected(lake, pack, *WEEKS)
    decide(lake, pack, WEEKS[0], "base", "a")
    decide(lake, pack, WEEKS[2], "a", "a")
    assert stale_incumbent(lake, pack, datetime(2026, 3, 8, tzinfo=UTC)) is None
    found = stale_incumbent(lake, pack, datetime(2026, 3, 9, tzinfo=UTC))
    assert found and found.week == WEEKS[0] and "has not changed for 8 weeks" in found.what


def test_line_one_says_what_serves_since_when_and_whether_it_is_affected(lake: Lake, pack: Pack):
    assert serving_line(lake, "door") == "door: production serves base since the beginning; it is not affected"
    decide(lake, pack, WEEKS[0], "base", "a")
    decide(lake, pack, WEEKS[1], "a", "a")
    assert (
        serving_line(lake, pack.name, affected=True)
        == f"{pack.name}: production serves a since week {WEEKS[0]}; it is affected"
    )
