"""The human review in the lake: read a week's state, take ratings in, and write down how far people and program agree.

Ratings are append-only: one person judges an output once. What is derived from them (`evaluation_review`,
`evaluation_disagreements`) is computed anew from ratings and results each time, never from itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.evaluation import human_review
from flywheel.evaluation.human_review import ReviewState
from flywheel.evaluation.review_sheet import Rating
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.pack import Pack


class WeekReview(NamedTuple):
    """A week's sample, its state, and the rows of the two derived tables."""

    sample: pl.DataFrame
    state: ReviewState
    disagreements: pl.DataFrame

    def tables(self) -> dict[str, Any]:
        """Rows of `evaluation_review` and `evaluation_disagreements`; none where nobody has judged anything."""
        figures = human_review.figures_of(self.state) if self.state.decided or self.state.undecided else []
        return {"evaluation_review": figures, "evaluation_disagreements": self.disagreements}


class Imported(NamedTuple):
    """What an import did: ratings added, ratings known before, and the week's review after it."""

    added: int
    known: int
    review: WeekReview


def read_review(lake: Lake, pack: Pack, week: str) -> WeekReview:
    """The review of a week from its results and all ratings; raises MissingPartition when nothing was evaluated."""
    results = lake.read_partition("eval_results", workflow=pack.name, week=week)
    return week_review(results, lake.read_weeks("evaluation_ratings", workflow=pack.name), pack, week)


def week_review(results: pl.DataFrame, ratings: pl.DataFrame, pack: Pack, week: str) -> WeekReview:
    """The same, of rows read before."""
    outputs = human_review.outputs_of(results)
    sample = human_review.draw(outputs, pack.settings.evaluation.review, workflow=pack.name, week=week)
    state = human_review.state_of(sample, ratings)
    return WeekReview(sample, state, human_review.disagreements(outputs, ratings))


def undecided_review(lake: Lake, workflow: str) -> str | None:
    """The newest evaluated week, if its promotion ran and left it undecided; else None."""
    written = lake.all_lineage(workflow=workflow, tables=["eval_results", "promotion"])
    evaluated = written.filter(table_name="eval_results")["week"].max()
    ran = written.filter(table_name="promotion", week=str(evaluated)).height
    log = lake.read_weeks("promotion_log", workflow=workflow)
    return str(evaluated) if ran and not log.filter(week=str(evaluated)).height else None


def waits(review: WeekReview, pack: Pack, week: str) -> list[str]:
    """Why the pack's human review keeps promotion waiting; empty where it does not, or where none is required."""
    if pack.settings.evaluation.human_review == "none":
        return []
    command = f"flywheel evaluation sample --workflow {pack.name} --week {week}"
    return human_review.reasons_to_wait(review.state, pack.settings.evaluation.review, command=command)


def import_ratings(lake: Lake, pack: Pack, week: str, given: Sequence[Rating], *, by: str, now: datetime) -> Imported:
    """Store one person's ratings of a week's sample and write the derived tables anew.

    Nothing is stored when a line names an output that is not in the sample, or when the person judged an output otherwise before:
    ratings are not changed afterwards, another person judges instead. Importing the same file twice adds nothing.
    """
    review = read_review(lake, pack, week)
    known = lake.read_weeks("evaluation_ratings", workflow=pack.name)
    rows = _rows(given, review.sample, week, by, now)
    before = dict(known.select("rating_id", "verdict").rows())
    changed = [row["output_id"] for row in rows if before.get(row["rating_id"], row["verdict"]) != row["verdict"]]
    if changed:
        raise FlywheelError(
            f"{by} judged {len(changed)} of these outputs otherwise before: {', '.join(changed[:5])}", where="evaluation_ratings",
            remedy="a rating stays as it was given; take these lines out, and let another person judge them too",
        )  # fmt: skip
    added = lake.append_new("evaluation_ratings", rows, workflow=pack.name)
    review = read_review(lake, pack, week)
    for table, derived in review.tables().items():
        lake.replace_partition(table, derived, workflow=pack.name, week=week)
    return Imported(added, len(rows) - added, review)


def _rows(given: Sequence[Rating], sample: pl.DataFrame, week: str, by: str, now: datetime) -> list[dict[str, Any]]:
    """EVALUATION_RATINGS rows without the workflow."""
    drawn = {row["output_id"]: row for row in sample.iter_rows(named=True)}
    of = {output_id: (row["case_id"], row["epoch"]) for output_id, row in drawn.items()}
    unknown = [rating for rating in given if of.get(rating.output_id) != (rating.case_id, rating.epoch)]
    if unknown:
        first = unknown[0]
        raise FlywheelError(
            f"{len(unknown)} of {len(given)} ratings are of outputs that are not in the sample of {week}, first: {first.output_id}",
            where=first.where,
            remedy="the week was evaluated again since the sheet was made: draw it again; ratings of unchanged outputs are kept",
        )
    return [
        {
            "rating_id": sha256_of([rating.output_id, by])[:16], "output_id": rating.output_id,
            "case_id": drawn[rating.output_id]["case_id"], "epoch": drawn[rating.output_id]["epoch"], "sampled_week": week,
            "verdict": rating.verdict, "comment": rating.comment, "saw_expectation": rating.saw_expectation, "rater": by,
            "rated_at": rating.rated_at.astimezone(UTC) if rating.rated_at else None, "imported_at": now,
        }
        for rating in given
    ]  # fmt: skip
