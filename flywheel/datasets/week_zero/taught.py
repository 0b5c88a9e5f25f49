"""What a teacher showed for week zero: kept by the teacher's own code, and taken into the ledger, where it waits for people.

The files lie beside the ledger, so that what a teacher showed here never trains by the way of `flywheel demonstration review` as well.
"""

from pathlib import Path

from flywheel.datasets.teacher import Shelf
from flywheel.datasets.week_zero.ledger import Row, draft
from flywheel.datasets.week_zero.prompts import trace_of

_VERIFIER = "verifier_"


def shelf_of_week_zero(folder: Path, workflow: str) -> Shelf:
    """Where the teacher's rows of a workflow lie below `home/bootstrap`."""
    here = folder / workflow
    return Shelf(here / "taught.jsonl", here / "taught_refused.jsonl", here / "taught_verified.jsonl")


def taught_drafts(shelf: Shelf) -> list[Row]:
    """A draft of every row that a teacher showed; those whose calls are the task's gold actions name the verifier that passed them."""
    return [
        draft(
            row["messages"], row["tools"], source="teacher", annotator=row["annotator"], annotator_kind="model",
            conversation_id=row["conversation_id"], trains_from=row["trains_from"], teacher=row["teacher"],
            trace_id=trace_of(row["teacher"]["task"]),
            verifier=row["reviewer"].removeprefix(_VERIFIER) if row["reviewer"].startswith(_VERIFIER) else None,
        )
        for row in shelf.rows()
    ]  # fmt: skip
