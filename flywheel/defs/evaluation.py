"""Stage 7: `eval_results`, candidate and incumbent on the same frozen cases through one vLLM server."""

import json

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.freeze import active
from flywheel.chat.render import Renderer
from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.evaluation.runner import Benchmark
from flywheel.evaluation.scorers.score import SCORER_VERSION
from flywheel.evaluation.session import CANDIDATE, INCUMBENT, arms_of, evaluate, failures_preview
from flywheel.partitions import last_week_same_workflow, week_by_workflow, workflow_of_week
from flywheel.promotion.pointer import serving
from flywheel.serving.vllm_server import BASE, ServerSpec
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel, check_weights
from flywheel.workflows.pack import Pack


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[
        "checkpoint",
        dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
        dg.AssetDep("served_model", partition_mapping=last_week_same_workflow),
    ],
    code_version="1",
    **asset_options("eval_results", "evaluation", "vllm", heavy=True),
)
def eval_results(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Every score and raw output of candidate, incumbent and the incumbent's A/A run, on the frozen benchmark.

    Grain: one case x arm x epoch; no rows in a banked week. The incumbent is what promotion had serving before this week.
    """
    stage = Stage.begin(context, house, "eval_results", "1")
    pack, settings = house.pack(stage.workflow), house.settings()
    trained = stage.read("checkpoint")
    frozen = stage.read("benchmark", by_workflow=True)
    base, renderer = house.base_model(pack), house.renderer(pack)
    log = stage.lake.read_weeks("promotion_log", workflow=stage.workflow)
    incumbent = serving(log, before_week=stage.weekly)
    decisive = {
        "incumbent": incumbent, "scorer": SCORER_VERSION, "base": base.sha256, "system": pack.system,
        "tools": pack.tools_sha256, "decoding": pack.settings.decoding.model_dump(),
        "evaluation": pack.settings.evaluation.model_dump(),
    }  # fmt: skip
    if done := stage.unchanged(decisive):
        return done
    if not trained.height:
        return stage.write(
            [],
            decisive,
            metadata={"note": f"banked week: no new checkpoint to evaluate, {incumbent} is carried forward"},
        )
    check_weights(base)
    cases = active(frozen)
    benchmark = Benchmark(cases, benchmark_version(cases, pack.tools_sha256), pack)
    candidate = trained["adapter_id"][0]
    session = evaluate(
        benchmark,
        arms_of(candidate, incumbent),
        server_spec(settings, pack, base, renderer, {candidate, incumbent} - {BASE}),
        renderer,
        log=settings.scratch(stage.workflow, stage.weekly, "eval_results") / "vllm.log",
        start_seconds=settings.serve_start_seconds,
    )
    results = pl.DataFrame(session.rows, infer_schema_length=None)
    facts = {
        "incumbent": incumbent,
        "candidate": candidate,
        "benchmark_version": benchmark.version,
        "prompts_compared_with_training": session.prompts_compared,
        "canary": dg.MetadataValue.json({finding.adapter: finding._asdict() for finding in session.canary}),
        "canary_says": "; ".join(finding.sentence() for finding in session.canary),
        "server_start_seconds": session.server_start_seconds,
        **{f"{arm}_success": results.filter(arm=arm)["success"].mean() for arm in (CANDIDATE, INCUMBENT)},
        "infra_errors": results["infra_error"].count(),
    }
    return stage.write(session.rows, decisive, preview=failures_preview(session.rows), metadata=facts)


def server_spec(settings: Settings, pack: Pack, base: BaseModel, renderer: Renderer, adapters: set[str]) -> ServerSpec:
    """What is served for a workflow: the base model and the named adapters."""
    folder = settings.checkpoints(pack.name).absolute()
    return ServerSpec(
        model=base.folder,
        family=renderer.family,
        adapters={adapter: folder / adapter for adapter in sorted(adapters)},
        max_model_len=pack.settings.max_model_len,
        max_num_seqs=pack.settings.evaluation.concurrency,
        max_lora_rank=max(8, pack.settings.lora_rank),
        threads=settings.threads,
    )


@dg.asset_check(asset="eval_results", blocking=True, partitions_def=week_by_workflow)
def both_arms_ran_the_same_cases(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Candidate and incumbent have a row for every frozen case, none missing and none extra."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("eval_results", workflow=workflow, week=week)
    frozen = {case.id for case in active(house.lake().read_partition("benchmark", workflow=workflow))}
    if not rows.height:
        return passed(True, "banked week: nothing was evaluated")
    seen = {arm: set(rows.filter(arm=arm)["case_id"]) for arm in (CANDIDATE, INCUMBENT)}
    counts = {arm: f"{len(cases)} of {len(frozen)}" for arm, cases in seen.items()}
    return passed(all(cases == frozen for cases in seen.values()), json.dumps(counts))
