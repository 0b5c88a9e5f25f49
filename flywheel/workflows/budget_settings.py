"""What a workflow may spend in a week: a part of `workflow.yaml`."""

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """Limits of one week; None: none. Training and evaluation refuse to start where they would pass them, see docs/operations.md.

    `accelerator_hours`: wall time of training and evaluation, attempts that failed included. `money`: the same at
    `rates.accelerator_hour`, and the experts' time at their rates.
    """

    model_config = ConfigDict(extra="forbid")

    accelerator_hours: float | None = Field(default=None, gt=0)
    money: float | None = Field(default=None, gt=0)
