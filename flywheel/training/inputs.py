"""What a week's training reads of the lake beside its datasets, and what is said where it waits. No torch here."""

import polars as pl

from flywheel.lake import Lake


def held_out_steps(lake: Lake, workflow: str, week: str) -> pl.DataFrame:
    """Steps held out up to a week. Not recorded as an input: they are measured on, and change no adapter."""
    columns = ("row_id", "tools", "messages", "target")
    return lake.read_columns("held_out", columns, workflow=workflow, where=pl.col("held_out_week") <= week)


def waits_for_training(workflow: str, week: str) -> str:
    """What is said of a week whose datasets wait for a machine elsewhere, with the command."""
    return (
        f"learn stopped at the datasets: no trainer here (trainer: elsewhere), so the week waits; next: flywheel checkpoint export-job "
        f"{workflow} {week} DIR, train it elsewhere, flywheel checkpoint import DIR"
    )
