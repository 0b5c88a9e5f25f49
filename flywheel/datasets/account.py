"""The account of a written dataset, from the tables alone: is an accepted correction lost, and to what?"""

import polars as pl

from flywheel.lake import Lake


def lost_to_length(lake: Lake, workflow: str, week: str) -> tuple[list[str], int]:
    """Corrections of a week that have no row because they are too long, and how many corrections the week has.

    A correction that is kept out for another reason (a conflict, the benchmark, a cap, a withdrawal) is not lost: it is listed, and
    somebody decided so.
    """
    of_week = pl.col("week") == week
    accepted = lake.read_columns("corrected_traces", ("correction_id",), workflow=workflow, where=of_week)[
        "correction_id"
    ]
    kept = lake.read_columns("sft_dataset", ("source_id",), workflow=workflow, where=of_week)["source_id"]
    out = lake.read_columns(
        "dataset_left_out", ("source_id", "message_index", "reason"), workflow=workflow, where=of_week
    )
    long = set(accepted) & set(out.filter(reason="too_long")["source_id"]) - set(kept)
    return sorted(long), accepted.len()
