"""Stage 7: `eval_results`, candidate and incumbent on the same frozen cases through one vLLM server."""

import json
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.freeze import active
from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.defs.stopped import stopped_at, waits_for_server
from flywheel.evaluation.base_arm import BASE_ARM, asked, base_arm, carried
from flywheel.evaluation.decides import Decides, what_decides
from flywheel.evaluation.metrics import metric_rows
from flywheel.evaluation.runner import Benchmark, not_run
from flywheel.evaluation.scorers.score import SCORER_VERSION
from flywheel.evaluation.servers import Servers, evaluate_all, logs_of, servers_of, told
from flywheel.evaluation.session import CANDIDATE, INCUMBENT, Session, arms_of, cases_of, failures_preview, forget_arms
from flywheel.evaluation.shown import failures_by_bucket, metrics_preview, success_of
from flywheel.evaluation.stored import rescored
from flywheel.operations.budget import refuse_overspending
from flywheel.partitions import last_week_same_workflow, week_by_workflow, workflow_of_week
from flywheel.promotion.pointer import serving
from flywheel.promotion.validity import broken
from flywheel.serving.shared_server import shared_server
from flywheel.serving.trained_on import TrainedOn
from flywheel.serving.vllm_server import BASE
from flywheel.training.landed import told_elsewhere
from flywheel.workflows.pack import Pack

eval_metrics = dg.AssetSpec(
    "eval_metrics",
    partitions_def=week_by_workflow,
    deps=["eval_results"],
    description="Every metric of every arm with its counts and its 95 % interval; written by eval_results. "
    "Grain: one arm x slice x category x metric.",
    **asset_options("eval_metrics", "evaluation"),
)


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[
        "checkpoint",
        dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
        dg.AssetDep("served_model", partition_mapping=last_week_same_workflow),
    ],
    code_version="2",
    **asset_options("eval_results", "evaluation", "vllm", heavy=True),
)
@says_why
def eval_results(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Every score and raw output of candidate, incumbent, the incumbent's A/A run and the base model, on the frozen benchmark.

    Grain: one case x arm x epoch; no rows in a banked week. The incumbent is what promotion had serving before this week; after a change
    of base model or family it answers from a server of its own, and an endpoint that serves until a first release is asked where it is.
    The base model is asked once a benchmark: later weeks carry its answers.
    Where only the scorers changed, the stored outputs are scored again and nothing is generated; results that the server broke (too many
    errors, another server meanwhile) are generated anew when it runs again. The metrics are in `eval_metrics`. No rows either where this
    machine has no trainer or no server: the week then waits undecided.
    """
    stage = Stage.begin(context, house, "eval_results", "2")
    pack, settings = house.pack(stage.workflow), house.settings()
    trained = stage.read("checkpoint")
    cases = active(stage.read("benchmark", by_workflow=True))
    base, renderer = house.base_model(pack), house.renderer(pack)
    log = stage.lake.read_weeks("promotion_log", workflow=stage.workflow)
    incumbent = serving(log, before_week=stage.weekly, first=pack.first_incumbent)
    candidate = trained["adapter_id"][0] if trained.height else None
    version = benchmark_version(cases, pack.contract_sha256)
    adapters = {incumbent, candidate or BASE, BASE}
    servers = servers_of(stage.lake, settings, pack, base, adapters, trusted={candidate or BASE})
    decides = what_decides(
        pack, renderer, base, version, servers.decides(candidate=candidate, incumbent=incumbent, gone=servers.gone)
    )
    broke = _broken(stage, pack, servers)
    if not broke and (done := stage.unchanged(decides._asdict())):
        return done
    if candidate is None or not cases:
        stop = stopped_at(stage.lake, pack, base, stage.weekly, trained) if candidate is None else None
        note = (
            "the benchmark is empty: nothing can be evaluated, and promotion says so"
            if candidate
            else stop.says
            if stop
            else f"banked week: no new checkpoint to evaluate, {incumbent} is carried forward"
        )
        return stage.write([], decides._asdict(), metadata={"note": note}, also={"eval_metrics": []})
    benchmark = Benchmark(cases, version, pack, base.sha256, decides.generation_sha256)
    arms = arms_of(candidate, incumbent)
    arms += [alone] if (alone := base_arm(arms)) else []
    known = stage.lake.has_partition("eval_results", workflow=stage.workflow, week=stage.weekly)
    stored = stage.lake.read_partition("eval_results", workflow=stage.workflow, week=stage.weekly) if known else None
    rows = None if stored is None or broke else rescored(stored, benchmark, cases_of(benchmark, arms))
    if rows is not None:
        context.log.info(f"eval_results: {len(rows)} stored outputs scored again, nothing generated, no server started")
        return _write(stage, decides, rows, pack, {"scored_again": len(rows)})
    if pack.settings.serving == "elsewhere":
        note = waits_for_server(stage.workflow, stage.weekly)
        return stage.write([], decides._asdict(), metadata={"note": note}, also={"eval_metrics": []})
    before = carried(stage.lake, stage.weekly, benchmark, decides.generation) if alone else None
    arms = [arm for arm in arms if not before or arm.name != BASE_ARM]
    outputs = pack.settings.evaluation.epochs * sum(map(len, cases_of(benchmark, arms).values()))
    refuse_overspending(stage.lake, context.instance, pack, stage.weekly, "eval_results", outputs)
    log = settings.scratch(stage.workflow, stage.weekly, "eval_results") / "vllm.log"
    told_there = told_elsewhere(settings, stage.workflow)
    sessions = evaluate_all(settings, servers, arms, benchmark, log=log, elsewhere=told_there, shared=shared_server())
    missing = [not_run(arm, benchmark._replace(cases=cases_of(benchmark, [arm])[arm.name]), servers.gone[arm.adapter_id])
               for arm in arms if arm.adapter_id in servers.gone]  # fmt: skip
    made = (
        [asked(session.rows, decides.generation) for _, session in sessions]
        + missing
        + ([before.rows] if before else [])
    )
    facts = _facts(servers, sessions) | (
        {"base_model_answered_in": before.week if before else stage.weekly} if alone else {}
    )
    result = _write(stage, decides, [row for part in made for row in part], pack, facts)
    for one in logs_of(servers, arms, log):
        forget_arms(one)
    return result


def _broken(stage: Stage, pack: Pack, servers: Servers) -> list[str]:
    """Why what is stored of the week is asked again though nothing else changed; empty where it is whole, or no server is here to ask."""
    if pack.settings.serving == "elsewhere":
        return []
    columns = ("arm", "adapter_id", "infra_error", "server")
    where = pl.col("week") == stage.weekly
    stored = stage.lake.read_columns("eval_results", columns, workflow=stage.workflow, where=where)
    reasons = broken(stored, servers.gone)
    if reasons:
        stage.context.log.warning(f"what was evaluated before is broken and generated anew: {'; '.join(reasons)}")
    return reasons


def _facts(servers: Servers, sessions: Sequence[tuple[TrainedOn, Session]]) -> dict[str, Any]:
    """What was proved of the servers before the first case, and who could not be asked."""
    findings = [finding for _, session in sessions for finding in session.canary]
    unproven = dict.fromkeys(proof for _, session in sessions for proof in session.not_proven)
    return {
        "servers": told(sessions),
        "prompts_compared_with_training": sum(session.prompts_compared for _, session in sessions),
        "canary": dg.MetadataValue.json({finding.adapter: finding._asdict() for finding in findings}),
        "canary_says": "; ".join(finding.sentence() for finding in findings),
        "server_start_seconds": sum(session.server_start_seconds for _, session in sessions),
        "not_evaluated": "; ".join(servers.gone.values()) or "none",
        "not_proven": "; ".join(unproven) or "nothing: it was started here",
    }


def _write(
    stage: Stage, decides: Decides, rows: list[dict[str, Any]], pack: Pack, facts: dict[str, Any]
) -> dg.MaterializeResult:
    """Results and metrics in one go, and what an analyst reads of them."""
    metrics = metric_rows(rows, rates=pack.settings.rates)
    described = {
        **facts,
        **{arm: next(row["adapter_id"] for row in rows if row["arm"] == arm) for arm in (CANDIDATE, INCUMBENT)},
        "benchmark_version": rows[0]["benchmark_version"],
        "scorer_version": SCORER_VERSION,
        **{
            f"{arm}_success": value
            for arm in (CANDIDATE, INCUMBENT, BASE_ARM)
            if (value := success_of(metrics, arm)) is not None
        },
        "infra_errors": sum(row["infra_error"] is not None for row in rows),
        "metrics": markdown_table(metrics_preview(metrics), limit=40),
        "failures_by_bucket": markdown_table(failures_by_bucket(rows)),
    }
    result = stage.write(
        rows, decides._asdict(), preview=failures_preview(rows), metadata=described, also={"eval_metrics": metrics}
    )
    counted = {"dagster/partition_row_count": len(metrics), "metrics": described["metrics"]}
    stage.context.log_event(
        dg.AssetMaterialization("eval_metrics", partition=stage.context.partition_key, metadata=counted)
    )
    return result


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
