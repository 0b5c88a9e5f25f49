"""How long a workflow keeps what its weeks leave behind: a part of `workflow.yaml`."""

from pydantic import BaseModel, ConfigDict, Field


class Retention(BaseModel):
    """What `flywheel prune` may take away, see docs/operations.md; None: kept for ever.

    `traces_weeks`: production's runs, their near-duplicates, refused records, and inbox files that hold nothing newer. A week whose
    runs are gone keeps its failures, batches and corrections, and is not collected again.
    `adapters_weeks`: adapters that were never promoted and never served. `scratch_weeks`: logs and specs of children, of decided weeks.
    """

    model_config = ConfigDict(extra="forbid")

    traces_weeks: int | None = Field(default=104, ge=5)
    adapters_weeks: int | None = Field(default=8, ge=2)
    scratch_weeks: int | None = Field(default=4, ge=1)
