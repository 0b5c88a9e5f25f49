"""`alerts` of `workflow.yaml`: who is told when a week goes wrong."""

from pydantic import BaseModel, ConfigDict, Field


class Alerts(BaseModel):
    """Who is told (`flywheel.operations.alerts`); the webhook is the installation's.

    `email` gets the alerts by mail. A week without a decision is told `decision_days` after its end, a served adapter that has not
    changed for `stale_weeks` weeks once.
    """

    model_config = ConfigDict(extra="forbid")

    email: list[str] = []
    decision_days: float = Field(default=10, gt=0)
    stale_weeks: int = Field(default=8, ge=1)
