"""What a failed Dagster run says: the stage, the cause in its own words, where, and the remedy.

A person knows a stage by its asset. Dagster's steps carry other names: a multi-asset's that of its function, a check's that of the check.
Which assets a step was to write or to check stands in the run's own plan.
"""

import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import dagster as dg
from dagster._core.events import JobFailureData
from dagster_shared.error import SerializableErrorInfo

from flywheel.jobs import JOBS

_CLASS = re.compile(r"^[A-Za-z_][\w.]*: ")
_BLOCKED = "blocking asset check"
_REMEDY = "\n  -> "
_WILL_RETRY = "dagster/will_retry"
_LONGEST = 2_000  # characters; a pod's last words may be pages
_CRASHED = (
    "see in the run what ended it; where that was memory, give the machine or the pod more; then run the same command "
    "again: what was committed stands"
)
_KIND = dg.DagsterEventType
_PLANNED = {_KIND.ASSET_MATERIALIZATION_PLANNED, _KIND.ASSET_CHECK_EVALUATION_PLANNED}
_STARTED = {_KIND.STEP_START, _KIND.STEP_RESTARTED}
_ENDED = {_KIND.STEP_SUCCESS, _KIND.STEP_SKIPPED}
_ORDER = {stage: place for place, stage in enumerate(chain.from_iterable(JOBS.values()))}


class Told(NamedTuple):
    """A failed step; `remedy` is None where the error names none, which makes it a defect and not a mistake.

    `step`: Dagster's key of it, empty where a run crashed outside of any. `stages`: the assets it was to write or to check, in the week's
    order, never empty. `damage`: a table of the lake cannot be read.
    """

    step: str
    stages: tuple[str, ...]
    cause: str
    remedy: str | None
    damage: bool = False

    @property
    def stage(self) -> str:
        """What `flywheel run --stage` takes to try the step again."""
        return self.stages[0]


def stages_by_step(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[str, ...]]:
    """Step -> assets that it writes or checks, for every step a run was to take; both in the week's order."""
    planned: dict[str, set[str]] = {}
    events = _events(instance, run_id, _PLANNED)
    # What writes an asset comes before what checks it.
    for event in sorted(events, key=lambda event: event.event_type is _KIND.ASSET_CHECK_EVALUATION_PLANNED):
        key = event.asset_key or event.asset_check_planned_data.asset_key
        planned.setdefault(event.step_key or "", set()).add(key.to_user_string())
    found = {step: _in_order(assets) for step, assets in planned.items()}
    return dict(sorted(found.items(), key=lambda item: _place(item[1][0])))


def failed_steps(instance: dg.DagsterInstance, run_id: str) -> list[Told]:
    """Every failed step of a run, in order; of a run that crashed, the step it was at, unless Dagster will try it again by itself."""
    failures = _events(instance, run_id, {_KIND.STEP_FAILURE})
    if not failures:
        crash = _crash(instance, run_id)
        return [crash] if crash else []
    stages = stages_by_step(instance, run_id)
    told = [_told_by(event, stages) for event in failures]
    return [_of_checks(instance, run_id, one) if _BLOCKED in one.cause else one for one in told]


def _told_by(event: dg.DagsterEvent, stages: dict[str, tuple[str, ...]]) -> Told:
    step = event.step_key or "?"
    cause, remedy = _said(event.step_failure_data.error)
    own = event.step_failure_data.user_failure_data
    damage = own.metadata.get("lake_is_damaged") if own else None
    return Told(step, stages.get(step, (step,)), cause, remedy, bool(damage and damage.value))


def _said(error: SerializableErrorInfo | None) -> tuple[str, str | None]:
    """Cause and remedy: of the chain of errors, the first that names a remedy, else what the stage raised."""
    texts = []
    while error is not None:
        texts.append(_CLASS.sub("", error.message.strip()))
        error = error.cause
    said = next((text for text in texts if _REMEDY in text), texts[min(1, len(texts) - 1)] if texts else "no message")
    cause, found, remedy = said.partition(_REMEDY)
    return cause.strip() or "no message", remedy.strip() if found else None


def _of_checks(instance: dg.DagsterInstance, run_id: str, told: Told) -> Told:
    """The same with what the blocking checks that failed say, and the assets they failed on: Dagster's own error names the checks only."""
    events = _events(instance, run_id, {_KIND.ASSET_CHECK_EVALUATION})
    found = [event.asset_check_evaluation_data for event in events if event.step_key == told.step]
    failed = [one for one in found if one.blocking and not one.passed]
    if not failed:
        return told
    said = "\n".join(f"{one.check_name}: {one.description}" for one in failed)
    return told._replace(cause=said, stages=_in_order(one.asset_key.to_user_string() for one in failed))


def _crash(instance: dg.DagsterInstance, run_id: str) -> Told | None:
    """What ended a run of which no step failed: its process was killed, its pod is gone, or it never started."""
    run, failures = instance.get_run_by_id(run_id), _events(instance, run_id, {_KIND.RUN_FAILURE})
    if run is None or not failures or _comes_again(run):
        return None
    data = failures[-1].event_specific_data
    if isinstance(data, JobFailureData) and data.error:
        cause, remedy = _said(data.error)
    else:
        cause, remedy = (failures[-1].message or "no message")[:_LONGEST], None
    stages = stages_by_step(instance, run_id)
    step = _step_at_work(instance, run_id, stages)
    return Told(step, stages.get(step) or (step or run.job_name,), cause, remedy or _CRASHED)


def _comes_again(run: dg.DagsterRun) -> bool:
    # Dagster marks runs of `flywheel run`, too, and then cannot launch them: they came from no code location.
    return run.tags.get(_WILL_RETRY) == "true" and run.remote_job_origin is not None


def _step_at_work(instance: dg.DagsterInstance, run_id: str, planned: Iterable[str]) -> str:
    """The last step that was started and did not end, else the first that was to come; empty when all had ended."""
    events = _events(instance, run_id, _STARTED | _ENDED)
    ended = {event.step_key for event in events if event.event_type in _ENDED}
    started = [event.step_key or "" for event in events if event.event_type in _STARTED]
    return next((step for step in (*reversed(started), *planned) if step not in ended), "")


def _events(instance: dg.DagsterInstance, run_id: str, kinds: set[dg.DagsterEventType]) -> list[dg.DagsterEvent]:
    return [entry.get_dagster_event() for entry in instance.all_logs(run_id, of_type=kinds)]


def _in_order(assets: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(assets), key=_place))


def _place(asset: str) -> tuple[int, str]:
    return _ORDER.get(asset, len(_ORDER)), asset
