"""`learn_when` and `week_zero` of `workflow.yaml`: when a week trains, and how demonstrations for a first checkpoint are planned and reviewed."""

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LearnWhen(_Strict):
    """When a week trains: the first of these that holds; else it is banked, and its corrections count with the next week's.

    Attributes:
        min_accepted: so many corrections were accepted since the last training; in week zero demonstrations.
        weeks: so many weeks went by since then, and at least one was accepted.
        critical: so many of those are of one cluster of critical failures.

    A base model or family that is another than the last adapter's is a reason of its own.
    """

    min_accepted: int = Field(default=8, ge=1)
    weeks: int = Field(default=4, ge=1)
    critical: int = Field(default=3, ge=1)


class WeekZero(_Strict):
    """What `flywheel bootstrap` goes by, see docs/week-zero.md.

    `review` is the share of the demonstrations that a second person looks at before they count; those whose calls change something are
    always looked at. When more than `quality.audit_defective_share` of what was looked at is refused, all of them are. The minutes are
    what one demonstration is expected to take.
    """

    review: float = Field(default=0.2, gt=0, le=1)
    minutes_to_write: float = Field(default=10, gt=0)
    minutes_to_review: float = Field(default=3, gt=0)
