"""`flywheel checkpoint export-job` and `import`: a week's training for a machine elsewhere, and its adapter back as the week's checkpoint.

the week's datasets -> the same spec that `checkpoint` would train -> job folder ... trained elsewhere ... -> is it the folder that was
exported, of today's rows and base, with a whole adapter of it -> adapter and record in their places -> the stage `checkpoint`
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dagster as dg

from flywheel.benchmark.leaks import leaks_in, read_registry, refuse_leaks
from flywheel.chat.families import find_family
from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.act_log import ActLog
from flywheel.operations.launch import run_job
from flywheel.operations.screen import Screen
from flywheel.operations.training_start import week_start
from flywheel.serving.canary import fixed_histories, probes
from flywheel.settings import Settings
from flywheel.training.inputs import held_out_steps
from flywheel.training.job import Job, job_spec, open_job, read_return
from flywheel.training.job_export import Origin, write_job
from flywheel.training.landed import Landed, land, read_landed
from flywheel.training.learn_when import pending, why_banked
from flywheel.training.spec import TrainSpec
from flywheel.training.stage import Prepared, prepare
from flywheel.workflows.base_model import BaseModel, check_weights, find_base_model
from flywheel.workflows.loader import find_pack
from flywheel.workflows.pack import Pack


class Exported(NamedTuple):
    """A job in its folder, and the hash that names it."""

    folder: Path
    job: Job
    sha256: str


class _Week(NamedTuple):
    """What is opened for a week: pack, base model, renderer, and the datasets prepared as `checkpoint` would."""

    pack: Pack
    base: BaseModel
    renderer: Renderer
    prepared: Prepared


def export_job(
    settings: Settings, workflow: str, week: str, folder: Path, *, with_base: bool = False, by: str = ""
) -> Exported:
    """Write a week's training as a job folder, and that it left the house into the act log; the same job there already is left as it is.

    Args:
        with_base: the base model comes along.
        by: who exports it; the account of this machine where nobody is named.

    Raises FlywheelError when there is nothing to learn, a row touches the benchmark, or the folder holds something else.
    """
    log = ActLog(settings)
    log.check()
    with _prepared(settings, workflow, week) as (pack, base, renderer, prepared):
        family = find_family(pack.settings.model_family)
        asked = probes(renderer, fixed_histories(pack.system), pack.tools)
        origin = Origin(workflow, week, base, family, renderer.template_sha256, pack.tools_sha256, asked)
        job, sha256 = write_job(prepared, origin, folder, with_base=with_base)
    rows = sum(job.rows.values())
    told = f"job {sha256[:16]} of week {week}, {rows} rows, written to {folder.absolute()}"
    log.record("job", workflow=workflow, week=week, what=told, sha256=sha256, by=by)
    return Exported(folder.absolute(), job, sha256)


def import_job(
    settings: Settings, folder: Path, on: dg.DagsterInstance, *, replace: bool = False, screen: Screen | None = None, by: str = ""
) -> Landed:  # fmt: skip
    """Check what came back in a job folder, land its adapter, and materialize the week's `checkpoint` from it; twice is once.

    Args:
        replace: the week's checkpoint may be another adapter already, and is traded in.
        by: who takes it in; the account of this machine where nobody is named.

    Raises FlywheelError, before anything is kept, when folder, rows, base model or adapter are not what the job says.
    """
    log = ActLog(settings)
    log.check()
    job, sha256 = open_job(folder)
    returned = read_return(folder, job, sha256)
    landed = Landed(job=job, returned=returned)
    with _prepared(settings, job.workflow, job.week) as week:
        _refuse_other_inputs(job, week, folder)
    _refuse_another(settings, job, landed.adapter_id, replace)
    before = read_landed(settings, job.workflow, job.week)
    land(folder, landed, settings)
    told = f"{landed.adapter_id} for week {job.week}, from job {sha256[:16]}, trained on {returned.machine.get('device', 'unknown')}"
    told += f", in place of {before.adapter_id}" if before and before.adapter_id != landed.adapter_id else ""
    log.record("checkpoint", workflow=job.workflow, week=job.week, what=told, sha256=sha256, by=by, again=False)
    run_job("learn", workflow=job.workflow, week=job.week, on=on, screen=screen, stages=["checkpoint"])
    return landed


@contextmanager
def _prepared(settings: Settings, workflow: str, week: str) -> Iterator[_Week]:
    """The week's datasets as `checkpoint` would train them, in a folder that goes with the block."""
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    sft, preference = (
        lake.read_partition(name, workflow=workflow, week=week) for name in ("sft_dataset", "preference_dataset")
    )
    registry = read_registry(lake, workflow)
    for name, rows in (("sft_dataset", sft), ("preference_dataset", preference)):
        refuse_leaks(leaks_in(rows, registry), name)
    base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    check_weights(base)
    renderer = Renderer(base.tokenizer_file, pack.settings.model_family)
    new = pending(lake, workflow, week, base_sha256=base.sha256, template_sha256=renderer.template_sha256)
    if note := why_banked(new, sft.height, pack.settings.learn_when):
        raise FlywheelError(f"there is nothing to train in the week of {week}: {note}", where="sft_dataset",
                            remedy="accept more corrections, or lower learn_when.min_accepted in workflow.yaml")  # fmt: skip
    start = week_start(lake, settings, pack, base, week, template_sha256=renderer.template_sha256)
    scratch = Path(tempfile.mkdtemp(prefix="flywheel-job-"))
    try:
        prepared = prepare(
            sft, preference, renderer=renderer, base=base, family=find_family(pack.settings.model_family),
            training=pack.settings.training, settings=settings, held_out=held_out_steps(lake, workflow, week),
            folder=scratch, output=settings.checkpoints(workflow), week=week, start=start.adapter_id,
        )  # fmt: skip
        yield _Week(pack, base, renderer, prepared)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_other_inputs(job: Job, week: _Week, folder: Path) -> None:
    """The job has to be what would be trained today: an adapter of other rows is not this week's."""
    again = f"write the job anew and train that: flywheel checkpoint export-job {job.workflow} {job.week} NEW_DIR"
    if week.base.sha256 != job.base_model_sha256:
        raise FlywheelError(
            f"the job is for {job.base_model_name}, and the base model here is {week.base.folder.name}", where=str(folder),
            remedy=f"put that base model back (workflow.yaml: base_model, and the cache), or {again}",
        )  # fmt: skip
    ours = {"template": week.renderer.template_sha256, "tools": week.pack.tools_sha256}
    theirs = {"template": job.chat_template_sha256, "tools": job.tools_sha256}
    if other := [name for name in ours if ours[name] != theirs[name]]:
        raise FlywheelError(
            f"{' and '.join(other)} changed since the job was exported", where=str(folder), remedy=again
        )
    spec = week.prepared.spec
    if spec.sha256() != job.spec_sha256:
        raise FlywheelError(
            f"the job is not what the week would train now: {_differences(spec, folder)}", where=str(folder),
            remedy=f"{again}; an adapter of other rows can never be the week's",
        )  # fmt: skip


def _differences(spec: TrainSpec, folder: Path) -> str:
    """In which settings a job's spec differs from today's, else that its rows do."""
    names = spec.differing(job_spec(folder))
    return (
        f"it has other {', '.join(names)}" if names else "rows were added, taken away or changed since it was exported"
    )


def _refuse_another(settings: Settings, job: Job, adapter_id: str, replace: bool) -> None:
    """A week that has an adapter keeps it, unless somebody says otherwise."""
    lake = Lake(settings.lake())
    if replace or not lake.has_partition("checkpoint", workflow=job.workflow, week=job.week):
        return
    known = set(lake.read_partition("checkpoint", workflow=job.workflow, week=job.week)["adapter_id"]) - {adapter_id}
    if known:
        raise FlywheelError(
            f"the checkpoint of {job.week} is {', '.join(sorted(known))} already", where="checkpoint",
            remedy="leave it, or trade it in: --replace; the week is then evaluated anew, and what was decided stays decided",
        )  # fmt: skip
