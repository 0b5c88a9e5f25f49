"""The table of the prequential score: a week's corrected steps, asked of models that never trained on them."""

import polars as pl

from flywheel.lake.judge_tables import EVAL_RESULTS
from flywheel.lake.table import weekly

_OWN = {
    "case_id": "The step: `step-` and the id of its correction, or of its item where the run was found right.",
    "case_sha256": "Hash of the step as it was asked, with what is expected.",
    "case_cluster": "Near-duplicate group of the run; statistics are clustered on it.",
    "slice": "random_slice or selected_failures: how the run got into the batch.",
    "arm": "checkpoint (the adapter of the week before), incumbent (what it was judged against) or served (neither of them).",
    "benchmark_version": "Hash of the week's steps; no benchmark case is among them.",
}
_LIKE_AN_EVALUATION = [
    (column.name, column.dtype, _OWN.get(column.name, column.description))
    for column in EVAL_RESULTS.columns
    if column.name not in EVAL_RESULTS.partitions
]

PREQUENTIAL_RESULTS = weekly(
    "prequential_results",
    "One corrected production step of the week x arm x epoch: asked of the adapter of the week before, which never saw it, and scored.",
    ("case_id", "arm", "epoch"),
    (
        "checkpoint_week",
        pl.String,
        "Week that trained the arm's adapter, always an earlier one; null for the base model.",
    ),
    ("trace_id", pl.String, "Production run the step is of."),
    ("item_id", pl.String, "Batch item the step was answered in."),
    ("failure_cluster", pl.String, "Cluster of the failure; 'unflagged' for the random slice."),
    ("made_by", pl.String, "Adapter that served the run; on failures selected from its runs it is at a disadvantage."),
    ("answer", pl.String, "corrected, or confirmed where people found the run right as it was."),
    *_LIKE_AN_EVALUATION,  # pyright: ignore[reportArgumentType]
)
