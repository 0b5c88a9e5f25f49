"""All detectors over one run, and which of their findings names the failure."""

from collections.abc import Sequence

from flywheel.detectors import ALWAYS, ON_DIALOGUE, ON_ERRORS, ON_LABELS, Detector
from flywheel.detectors.finding import BUCKETS, Finding, Run

_FAULT_ORDER = {"agent": 0, "environment": 1, "grader": 1, "user": 1, "inconclusive": 2}


def find(run: Run, always: Sequence[Detector] = ALWAYS) -> list[Finding]:
    """What all detectors see, those that need nothing particular among them `always`.

    Where a label calls the run a success, signs against the agent only make it inconclusive; what is certain (a schema
    broken, success claimed after an error) stays.
    """
    detectors = [*always]
    if run.failed_calls:
        detectors += ON_ERRORS
    if run.user_turns > 1:
        detectors += ON_DIALOGUE
    if run.labelled:
        detectors += ON_LABELS
    findings = [finding for detector in detectors for finding in detector(run)]
    if findings and run.ends_well:
        findings = [f if f.certain or f.fault != "agent" else f._replace(fault="inconclusive") for f in findings]
    return findings


def critical(findings: list[Finding]) -> Finding:
    """The earliest finding that is the agent's fault, else one that names another's, else any; on one step BUCKETS decide."""
    return min(findings, key=lambda f: (_FAULT_ORDER[f.fault], f.message_index, BUCKETS.index(f.bucket)))
