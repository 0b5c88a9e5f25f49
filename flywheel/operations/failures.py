"""What a failed Dagster run says: the stage, the cause in its own words, where, and the remedy."""

import re
from typing import NamedTuple

import dagster as dg

_CLASS = re.compile(r"^[A-Za-z_][\w.]*: ")
_BLOCKED = "blocking asset check"
_REMEDY = "\n  -> "


class Told(NamedTuple):
    """A failed step; `remedy` is None where the error names none, which makes it a defect and not a mistake.

    `damage`: a table of the lake cannot be read.
    """

    stage: str
    cause: str
    remedy: str | None
    damage: bool


def told_by(event: dg.DagsterEvent) -> Told:
    """What a STEP_FAILURE event says: of the chain of errors, the first that names a remedy, else what the stage raised."""
    error = event.step_failure_data.error
    chain = []
    while error is not None:
        chain.append(_CLASS.sub("", error.message.strip()))
        error = error.cause
    said = next((text for text in chain if _REMEDY in text), chain[min(1, len(chain) - 1)] if chain else "no message")
    cause, found, remedy = said.partition(_REMEDY)
    own = event.step_failure_data.user_failure_data
    damage = own.metadata.get("lake_is_damaged") if own else None
    return Told(
        event.step_key or "?",
        cause.strip() or "no message",
        remedy.strip() if found else None,
        bool(damage and damage.value),
    )


def failed_steps(instance: dg.DagsterInstance, run_id: str) -> list[Told]:
    """Every failed step of a run, in order."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    told = [told_by(entry.get_dagster_event()) for entry in entries]
    return [
        one._replace(cause=_checks_said(instance, run_id) or one.cause) if _BLOCKED in one.cause else one
        for one in told
    ]


def _checks_said(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the blocking checks that failed say: Dagster's own error names them only."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
    return "\n".join(f"{one.check_name}: {one.description}" for one in found if one.blocking and not one.passed)
