"""The newest recurrence of corrected failures, by what the promotion log says that served."""

from flywheel.lake import Lake
from flywheel.promotion.pointer import serving
from flywheel.statistics.recurrence import Recurrence, recurrences


def newest(lake: Lake, workflow: str, *, until: str | None = None) -> Recurrence | None:
    """That of the newest week whose later week is there too, none after `until`; None when there is none."""
    log = lake.read_weeks("promotion_log", workflow=workflow)
    weeks = sorted(set(lake.read_columns("failure_clusters", ("week",), workflow=workflow)["week"]))
    known = [week for week in weeks if until is None or week <= until]
    found = recurrences(lake, workflow, serves=lambda week: serving(log, until_week=week), weeks=known)
    return found[-1] if found else None
