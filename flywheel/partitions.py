"""Weeks and workflows: the two dimensions every asset is partitioned by, and how week N sees week N-1.

A week is named by the Monday it starts on (design.md 8.17). Multi-partitions stand from the first day because Dagster
cannot change a partition scheme later.
"""

import warnings
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from flywheel.errors import FlywheelError
from flywheel.settings import Settings
from flywheel.workflows.loader import known_workflows

# Multi-partition mappings and partitioned checks are beta and preview in Dagster 1.13, which is pinned exactly; nothing
# but reporting hangs on the checks, promotion decides by itself.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

_SETTINGS = Settings()

weeks = dg.WeeklyPartitionsDefinition(start_date=_SETTINGS.first_week, day_offset=1, timezone=_SETTINGS.time_zone)
workflows = dg.StaticPartitionsDefinition(known_workflows(_SETTINGS.workflows()))
week_by_workflow = dg.MultiPartitionsDefinition({"week": weeks, "workflow": workflows})

_same_workflow = dg.DimensionPartitionMapping("workflow", dg.IdentityPartitionMapping())


def _weeks_back(first: int, last: int) -> dg.MultiPartitionMapping:
    window = dg.TimeWindowPartitionMapping(
        start_offset=first, end_offset=last, allow_nonexistent_upstream_partitions=True
    )
    return dg.MultiPartitionMapping({"week": dg.DimensionPartitionMapping("week", window), "workflow": _same_workflow})


last_week_same_workflow = _weeks_back(-1, -1)
all_weeks_so_far = _weeks_back(-104, 0)
workflow_of_week = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="workflow")


def partition_key(week: str, workflow: str) -> dg.MultiPartitionKey:
    """Dagster's key of one week of one workflow."""
    return dg.MultiPartitionKey({"week": week, "workflow": workflow})


def week_of(moment: datetime, time_zone: str = _SETTINGS.time_zone) -> str:
    """The week a moment belongs to; a moment without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    day = aware.astimezone(ZoneInfo(time_zone)).date()
    return (day - timedelta(days=day.weekday())).isoformat()


def week_bounds(week: str, time_zone: str = _SETTINGS.time_zone) -> tuple[datetime, datetime]:
    """First moment of the week and first moment after it, UTC."""
    start = datetime.combine(checked_week(week), datetime.min.time(), ZoneInfo(time_zone))
    end = datetime.combine(checked_week(week) + timedelta(days=7), datetime.min.time(), ZoneInfo(time_zone))
    return start.astimezone(UTC), end.astimezone(UTC)


def week_before(week: str) -> str:
    """The week before."""
    return (checked_week(week) - timedelta(days=7)).isoformat()


def checked_week(week: str) -> date:
    """The week's Monday as a date; raises FlywheelError when the name is no Monday."""
    try:
        day = date.fromisoformat(week)
    except ValueError:
        raise FlywheelError(
            f"{week!r} is no date", remedy="write the Monday the week starts on, as in 2026-01-05"
        ) from None
    if day.weekday():
        monday = day - timedelta(days=day.weekday())
        raise FlywheelError(f"{week} is no Monday", remedy=f"a week is named by its Monday: {monday.isoformat()}")
    return day
