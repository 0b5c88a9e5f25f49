"""What to say of a partition that was never written, and of one that two wrote at once."""

from flywheel.errors import FlywheelError, MissingPartition
from flywheel.jobs import JOBS

# Which command makes a missing partition, for the error's remedy.
_FREEZE = {*JOBS["freeze"]}
_COLLECT = {*JOBS["collect"], "quarantined_records", "toolsets", "near_duplicates", "failure_clusters"}


def missing_partition(table: str, workflow: str, week: str | None) -> MissingPartition:
    """The error for a partition that was never written."""
    stage = "freeze" if table in _FREEZE else "collect" if table in _COLLECT else "learn"
    command = f"flywheel run --workflow {workflow}" + (f" --week {week}" if week else "") + f" --stage {stage}"
    return MissingPartition(
        f"{table} was never written for {workflow}" + (f", week {week}" if week else ""),
        where=f"table {table}",
        remedy=f"run the stage before it: {command}",
    )


class ConcurrentWrite(FlywheelError):
    """An append-only table has rows that the writer had not seen when it decided what to add."""

    def __init__(self, table: str, workflow: str, rows: int) -> None:
        super().__init__(
            f"{table} of {workflow} got {rows} rows from somebody else meanwhile; nothing was written",
            where=f"table {table}",
            remedy="look at what they did (flywheel status), then run the same command again if it is still wanted",
        )
