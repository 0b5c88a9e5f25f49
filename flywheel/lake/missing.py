"""What to say of a partition that was never written: the command that writes it."""

from flywheel.errors import MissingPartition
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
