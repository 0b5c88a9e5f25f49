"""Stage 8: `promotion`, one decision; and `served_model`, the external asset over which the loop closes."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from flywheel.benchmark.freeze import active
from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.partitions import week_by_workflow, workflow_of_week
from flywheel.promotion.decision import judge, promotion_row
from flywheel.promotion.pointer import decided, entry, may_move, serving

served_model = dg.AssetSpec(
    "served_model",
    partitions_def=week_by_workflow,
    group_name="promotion",
    owners=["team:ml-platform"],
    kinds={"external"},
    description="What serves after the week's decision: promotion logs it with every decision, 'unchanged' included. "
    "Traces and evaluation of the next week depend on it, which closes the loop.",
)


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[
        "eval_results",
        "checkpoint",
        "corrected_traces",
        dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
    ],
    code_version="1",
    **asset_options("promotion", "promotion"),
)
def promotion(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """One decision, PROMOTE, REJECT, INCONCLUSIVE or INVALID, recomputed here from the tables, with its reasons.

    Grain: one decision. Only the newest undecided week moves the pointer; a past week re-derives its verdict and moves
    nothing. Under `release: approval` a PROMOTE waits for a person; the simulated demo releases by itself.
    """
    stage = Stage.begin(context, house, "promotion", "1")
    pack = house.pack(stage.workflow)
    results, corrections = stage.read("eval_results"), stage.read("corrected_traces")
    checkpoint = stage.read("checkpoint")
    cases = active(stage.read("benchmark", by_workflow=True))
    log = stage.lake.read_weeks("promotion_log", workflow=stage.workflow)
    incumbent = serving(log, before_week=stage.weekly)
    decisive = {"gate": pack.settings.gate.model_dump(), "release": pack.settings.release, "incumbent": incumbent}
    if done := stage.unchanged(decisive):
        row = stage.lake.read_partition("promotion", workflow=stage.workflow, week=stage.week).row(0, named=True)
        _log_served(
            context, {"verdict": row["verdict"], "served_adapter_id": row["served_adapter_id"], "unchanged": True}
        )
        return done
    judgement = judge(results, cases, corrections, checkpoint, pack, incumbent=incumbent)
    released = judgement.decision.verdict == "PROMOTE" and pack.settings.release == "automatic"
    served = judgement.candidate_adapter_id if released else incumbent
    row = promotion_row(judgement, pack, served=served, qa_mode=pack.settings.qa_mode)
    moves = may_move(log, stage.weekly) and decided(log, stage.weekly) is None
    if moves:
        moved = entry(stage.weekly, row["decision_id"], row["verdict"], incumbent, served, datetime.now(UTC))
        stage.lake.append_new("promotion_log", [moved], workflow=stage.workflow, run_id=context.run_id)
    facts = {
        "verdict": row["verdict"],
        "served_adapter_id": served,
        "incumbent_adapter_id": incumbent,
        "pointer_moved": moves,
    }
    _log_served(context, facts)
    numbers = {
        name: row[name] for name in ("candidate_success", "incumbent_success", "difference") if row[name] is not None
    }
    preview = [{"reason": reason} for reason in judgement.decision.reasons]
    return stage.write([row], decisive, preview=preview, metadata={**facts, **numbers})


def _log_served(context: dg.AssetExecutionContext, facts: dict[str, Any]) -> None:
    context.log_event(dg.AssetMaterialization("served_model", partition=context.partition_key, metadata=facts))


@dg.asset_check(asset="promotion", partitions_def=week_by_workflow)
def gate_is_met(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """The week's candidate was promoted; the reasons stand here when it was not."""
    workflow, week = partition_of(context.partition_key)
    row = house.lake().read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
    sentence = f"{row['verdict']}: {'; '.join(json.loads(row['reasons']))}"
    return passed(row["verdict"] == "PROMOTE", sentence, severity=dg.AssetCheckSeverity.WARN)
