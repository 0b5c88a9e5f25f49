"""What a detector reports, and the vocabulary it reports in."""

from typing import Any, NamedTuple

# First match wins where two findings stand on the same step (notes/evaluation.md, R2).
BUCKETS = (
    "schema_violation",
    "wrong_tool_selection",
    "wrong_arguments",
    "bad_recovery",
    "refusal_error",
    "policy_violation",
    "misread_tool_output",
    "premature_termination",
    "infra_error",
)
FAULTS = ("agent", "user", "environment", "grader", "inconclusive")


class Finding(NamedTuple):
    """One thing a detector saw.

    Attributes:
        message_index: the assistant step concerned.
        bucket, sub_kind: what went wrong.
        fault: whose fault; only `agent` may enter training.
        tool: tool concerned, None where no call was made.
        error: first error in a normalised form, the third part of the failure cluster.
        evidence: one sentence a person can check.
    """

    message_index: int
    bucket: str
    sub_kind: str
    fault: str
    tool: str | None
    error: str
    evidence: str


class Run(NamedTuple):
    """A trace as detectors see it: parsed messages and tools, and what the source said of the outcome."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    outcome_status: str
    feedback_score: float | None

    def assistant_before(self, index: int) -> int | None:
        """Index of the last assistant message before `index`, or None."""
        return next((i for i in range(index - 1, -1, -1) if self.messages[i]["role"] == "assistant"), None)

    def last_assistant(self) -> int:
        """Index of the last assistant message."""
        found = self.assistant_before(len(self.messages))
        return 0 if found is None else found
