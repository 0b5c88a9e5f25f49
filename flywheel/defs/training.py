"""Stage 6: `checkpoint`, one fresh LoRA adapter a week, trained in a child process under Dagster Pipes."""

import json
from dataclasses import asdict

import dagster as dg
import polars as pl

from flywheel.benchmark.leaks import leaks_in, read_registry, refuse_leaks
from flywheel.chat.families import find_family
from flywheel.defs.metadata import asset_options, picture
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.partitions import week_by_workflow
from flywheel.report.plots import loss_curve
from flywheel.training.drift import sentence
from flywheel.training.stage import checkpoint_row, child_environment, prepare, read_result
from flywheel.workflows.base_model import check_weights

_INPUTS = ("sft_dataset", "preference_dataset")


@dg.asset(
    partitions_def=week_by_workflow, deps=[*_INPUTS, "corrected_traces"], code_version="2",
    **asset_options("checkpoint", "training", "huggingface", "pytorch", heavy=True),
)  # fmt: skip
def checkpoint(
    context: dg.AssetExecutionContext, house: House, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """One LoRA adapter from the pinned base on the accumulated mix: SFT, then DPO on the same adapter.

    Grain: one adapter; no row in a banked week (too few new corrections, or no row to learn from). Refuses by itself when a
    row touches the benchmark, whatever the asset check said. What the adapter forgot is measured against the base model.
    """
    stage = Stage.begin(context, house, "checkpoint", "2")
    pack, settings = house.pack(stage.workflow), house.settings()
    sft, preference = (stage.read(name) for name in _INPUTS)
    accepted = stage.read("corrected_traces").height
    stage.read(
        "benchmark", by_workflow=True
    )  # recorded as an input: a case frozen since the build must stop the training
    registry = read_registry(stage.lake, stage.workflow)
    for name, rows in zip(_INPUTS, (sft, preference), strict=True):
        refuse_leaks(leaks_in(rows, registry), name)
    base, renderer = house.base_model(pack), house.renderer(pack)
    family = find_family(pack.settings.model_family)
    decisive = {
        **pack.settings.training.model_dump(), "learn_when": pack.settings.learn_when.model_dump(),
        "base": base.sha256, "template": renderer.template_sha256, "profile": asdict(family.profile),
    }  # fmt: skip
    if done := stage.unchanged(decisive):
        return done
    if note := _nothing_to_learn(accepted, sft.height, pack.settings.learn_when.min_accepted):
        return stage.write([], decisive, metadata={"note": note})
    check_weights(base)
    prepared = prepare(
        sft, preference, renderer=renderer, base=base, family=family, training=pack.settings.training, settings=settings,
        held_out=_held_out(stage),
        folder=settings.scratch(stage.workflow, stage.weekly, "checkpoint"), output=settings.checkpoints(stage.workflow),
        week=stage.weekly,
    )  # fmt: skip
    try:
        pipes.run(command=prepared.command, context=context, env=child_environment())
    except Exception as error:
        # The child's own result decides; without one, read_result names the remedy.
        context.log.error(f"training child: {error}")
    result = read_result(prepared.spec_file)
    row = checkpoint_row(result, prepared, base=base, renderer=renderer, home=settings.home)
    facts = {
        **result.model_dump(exclude={"log", "adapter_path", "forgetting"}, exclude_none=True),
        "forgetting": sentence(result.forgetting),
        "forgetting_nats": result.forgetting.general.change,
        "learning_curve": picture(loss_curve([entry.model_dump() for entry in result.log])),
        "settings": dg.MetadataValue.json(json.loads(prepared.spec.model_dump_json())),
        "inherited": dg.MetadataValue.json({f"from the family {family.name}": prepared.inherited}),
    }
    return stage.write([row], decisive, metadata=facts)


def _nothing_to_learn(accepted: int, rows: int, minimum: int) -> str | None:
    """Why a week trains nothing, or None."""
    if accepted < minimum:
        return f"banked: {accepted} accepted corrections, learn_when asks for {minimum}; what serves is carried forward"
    return None if rows else "the supervised dataset is empty: nothing to train on; what serves is carried forward"


def _held_out(stage: Stage) -> pl.DataFrame:
    """Steps held out up to this week. Not recorded as an input: they are measured on, and change no adapter."""
    columns = ("row_id", "tools", "messages", "target")
    up_to_now = pl.col("held_out_week") <= stage.weekly
    return stage.lake.read_columns("held_out", columns, workflow=stage.workflow, where=up_to_now)


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
