"""Stage 6: `checkpoint`, one fresh LoRA adapter a week, trained in a child process under Dagster Pipes."""

import json
from dataclasses import asdict
from typing import Any

import dagster as dg

from flywheel.benchmark.leaks import leaks_in, read_registry, refuse_leaks
from flywheel.chat.families import find_family
from flywheel.defs.metadata import asset_options, picture
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.defs.week_zero import demonstrations_of_week_zero
from flywheel.operations.budget import refuse_overspending
from flywheel.operations.training_start import week_start
from flywheel.partitions import week_by_workflow
from flywheel.report.plots import loss_curve
from flywheel.training.drift import sentence
from flywheel.training.inputs import held_out_steps, waits_for_training
from flywheel.training.landed import Landed, read_landed
from flywheel.training.learn_when import pending, why_banked
from flywheel.training.spec import TrainResult
from flywheel.training.stage import (
    Prepared,
    checkpoint_row,
    child_environment,
    prepare,
    read_result,
)
from flywheel.workflows.base_model import check_weights
from flywheel.workflows.pack import Pack

_INPUTS = ("sft_dataset", "preference_dataset")


@dg.asset(
    partitions_def=week_by_workflow, deps=[*_INPUTS, "corrected_traces", "prequential_results"], code_version="3",
    **asset_options("checkpoint", "training", "huggingface", "pytorch", heavy=True),
)  # fmt: skip
@says_why
def checkpoint(
    context: dg.AssetExecutionContext, house: House, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """One LoRA adapter from the pinned base (or the incumbent, `training.start`) on the accumulated mix: SFT, then DPO on it.

    Grain: one adapter; no row in a banked week (too few new corrections, or no row to learn from); in week zero the demonstrations
    count as corrections do. Refuses by itself when a
    row touches the benchmark, whatever the asset check said, and when the week would pass the pack's budget. What the adapter forgot is measured against the base model. In a run of
    the week it waits for `prequential_results`: the week's steps are asked of last week's adapter before they train this one.
    What `flywheel checkpoint import` landed for exactly these rows is taken instead of training; under `trainer: elsewhere` there
    is no row until then, and that is no failure.
    """
    stage = Stage.begin(context, house, "checkpoint", "3")
    pack, settings = house.pack(stage.workflow), house.settings()
    sft, preference = (stage.read(name) for name in _INPUTS)
    stage.read("corrected_traces")
    demonstrations_of_week_zero(stage)
    stage.read(
        "benchmark", by_workflow=True
    )  # recorded as an input: a case frozen since the build must stop the training
    registry = read_registry(stage.lake, stage.workflow)
    for name, rows in zip(_INPUTS, (sft, preference), strict=True):
        refuse_leaks(leaks_in(rows, registry), name)
    base, renderer = house.base_model(pack), house.renderer(pack)
    family = find_family(pack.settings.model_family)
    landed = read_landed(settings, stage.workflow, stage.weekly)
    start = week_start(stage.lake, settings, pack, base, stage.weekly, template_sha256=renderer.template_sha256)
    new = pending(
        stage.lake, stage.workflow, stage.weekly, base_sha256=base.sha256, template_sha256=renderer.template_sha256
    )
    banked = why_banked(new, sft.height, pack.settings.learn_when)
    decisive = {
        **pack.settings.training.model_dump(), "banked": banked,
        "base": base.sha256, "template": renderer.template_sha256, "profile": asdict(family.profile),
        **_elsewhere(pack, landed), **({"start": start.adapter_id} if start.adapter_id else {}),
    }  # fmt: skip
    if done := stage.unchanged(decisive):
        return done
    if banked:
        return stage.write([], decisive, metadata={"note": banked})
    if landed is None and pack.settings.trainer == "elsewhere":
        return stage.write([], decisive, metadata={"note": waits_for_training(stage.workflow, stage.weekly)})
    check_weights(base)
    prepared = prepare(
        sft, preference, renderer=renderer, base=base, family=family, training=pack.settings.training, settings=settings,
        held_out=held_out_steps(stage.lake, stage.workflow, stage.weekly),
        folder=settings.scratch(stage.workflow, stage.weekly, "checkpoint"), output=settings.checkpoints(stage.workflow),
        week=stage.weekly, start=start.adapter_id,
    )  # fmt: skip
    context.log.info(start.because)
    if landed is not None and not landed.is_of(prepared.spec):
        context.log.warning("what was imported for this week was trained on other rows or settings: not taken")
        landed = None
        if pack.settings.trainer == "elsewhere":
            note = f"rows or settings changed since the import; {waits_for_training(stage.workflow, stage.weekly)}"
            return stage.write([], decisive, metadata={"note": note})
    result = landed.result(prepared.spec.output) if landed else _trained_here(stage, prepared, pack, pipes)
    row = checkpoint_row(
        result, prepared, base=base, renderer=renderer, home=settings.home, tools_sha256=pack.tools_sha256,
        elsewhere=landed.described() if landed else None,
    )  # fmt: skip
    facts = _facts(result, prepared, f"from the family {family.name}", landed)
    return stage.write([row], decisive, metadata={**facts, "start": start.because})


def _elsewhere(pack: Pack, landed: Landed | None) -> dict[str, str]:
    """What decides besides the rows where training is not this machine's alone; nothing where it is."""
    where = {} if pack.settings.trainer == "here" else {"trainer": pack.settings.trainer}
    return where | ({"imported": landed.adapter_id} if landed else {})


def _trained_here(stage: Stage, prepared: Prepared, pack: Pack, pipes: dg.PipesSubprocessClient) -> TrainResult:
    """Train in a child process; raises FlywheelError in the child's words, and before it starts when the budget forbids it."""
    context, presentations = stage.context, prepared.spec.sft_presentations
    refuse_overspending(stage.lake, context.instance, pack, stage.weekly, "checkpoint", presentations)
    try:
        pipes.run(command=prepared.command, context=context, env=child_environment())
    except Exception as error:
        # The child's own result decides; without one, read_result names the remedy.
        context.log.error(f"training child: {error}")
    return read_result(prepared.spec_file)


def _facts(result: TrainResult, prepared: Prepared, family: str, landed: Landed | None) -> dict[str, Any]:
    """What an analyst reads of the adapter."""
    facts = {
        **result.model_dump(exclude={"log", "adapter_path", "forgetting"}, exclude_none=True),
        "forgetting": sentence(result.forgetting),
        "forgetting_nats": result.forgetting.general.change,
        "learning_curve": picture(loss_curve([entry.model_dump() for entry in result.log])),
        "settings": dg.MetadataValue.json(json.loads(prepared.spec.model_dump_json())),
        "inherited": dg.MetadataValue.json({family: prepared.inherited}),
    }
    return facts | ({"trained_elsewhere": dg.MetadataValue.json(landed.described())} if landed else {})


@dg.asset_check(asset="checkpoint", partitions_def=week_by_workflow)
def training_reduced_the_loss(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """The last supervised step's loss lies below the first one's. A fall of the chosen sides under DPO fails the training itself."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("checkpoint", workflow=workflow, week=week)
    if not rows.height:
        return passed(True, "banked week: nothing was trained")
    row = rows.row(0, named=True)
    change = row["chosen_logps_change"]
    ok = row["sft_last_loss"] < row["sft_first_loss"]
    sentence = f"SFT loss {row['sft_first_loss']:.3f} -> {row['sft_last_loss']:.3f}; chosen log-probability change {change} nats"
    return passed(ok, sentence, severity=dg.AssetCheckSeverity.WARN)
