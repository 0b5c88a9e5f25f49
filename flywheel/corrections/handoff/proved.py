"""A batch folder opened and proved, on either side of the hand-off; a partner needs no lake for it."""

from pathlib import Path

from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.handoff.verify.batch import BatchProblem, load_batch
from flywheel.errors import FlywheelError
from flywheel.toolcalls.structured_answers import ResponseSchema


def handed_out(folder: Path, fingerprint: str | None = None) -> HandedOut:
    """A batch folder, proved; raises FlywheelError instead of the judge's own exception."""
    try:
        return load_batch(folder, fingerprint)
    except BatchProblem as problem:
        raise FlywheelError(f"the batch cannot be used: {problem.rule}: {problem.what}", where=folder.name,
                            remedy=problem.remedy) from None  # fmt: skip


def handed_responses(handed: HandedOut) -> tuple[ResponseSchema, ...]:
    """The schemas of structured answers that a batch was handed out with, for the house's own check."""
    return tuple(ResponseSchema(one.name, one.schema, one.after_tools) for one in handed.responses)
