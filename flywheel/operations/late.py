"""Late traces: runs of earlier weeks that came with this week's files."""

import json

from flywheel.lake import Lake
from flywheel.lake.retention import is_pruned


def late_weeks(lake: Lake, workflow: str, week: str, first_week: str) -> list[str]:
    """Earlier weeks with runs in files that `week` read first, which those weeks' tables do not hold yet; oldest first.

    A week whose runs were pruned takes no more.
    """
    ledger = lake.read_weeks("inbox_ledger", workflow=workflow).filter(first_read_week=week)
    counts: dict[str, int] = {}
    for weeks in ledger["weeks"]:
        for other, count in json.loads(weeks).items():
            if first_week <= other < week and not is_pruned(lake, "production_traces", workflow=workflow, week=other):
                counts[other] = counts.get(other, 0) + count
    held = {}
    for other in counts:
        known = lake.has_partition("production_traces", workflow=workflow, week=other)
        rows = (
            lake.read_partition("production_traces", workflow=workflow, week=other)
            if known
            else lake.empty("production_traces")
        )
        held[other] = rows.filter(first_read_week=week).height
    return sorted(other for other, count in counts.items() if held[other] != count)
