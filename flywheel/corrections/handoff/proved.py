"""A batch folder opened and proved, on either side of the hand-off; a partner needs no lake for it."""

from pathlib import Path

from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.handoff.verify.batch import BatchProblem, load_batch
from flywheel.errors import FlywheelError


def handed_out(folder: Path, fingerprint: str | None = None) -> HandedOut:
    """A batch folder, proved; raises FlywheelError instead of the judge's own exception."""
    try:
        return load_batch(folder, fingerprint)
    except BatchProblem as problem:
        raise FlywheelError(f"the batch cannot be used: {problem.rule}: {problem.what}", where=folder.name,
                            remedy=problem.remedy) from None  # fmt: skip
