"""Stage 4b: `prequential_results`, the week's corrected steps asked of the adapter of the week before, before they train anything."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import benchmark_version
from flywheel.chat.render import Renderer
from flywheel.corrections.released import closed_batch, found_right
from flywheel.corrections.stores import open_store
from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.evaluation.decides import what_decides
from flywheel.evaluation.prequential import (
    Asked,
    never_seen,
    trained_before,
    who_is_asked,
    with_origin,
)  # fmt: skip
from flywheel.evaluation.production_steps import ProductionStep, WeekOfSteps, production_steps
from flywheel.evaluation.runner import Benchmark, not_run
from flywheel.evaluation.servers import Servers, evaluate_all, logs_of, servers_of
from flywheel.evaluation.session import forget_arms
from flywheel.evaluation.stored import rescored
from flywheel.partitions import last_week_same_workflow, week_by_workflow
from flywheel.promotion.pointer import serving
from flywheel.serving.shared_server import shared_server
from flywheel.settings import Settings
from flywheel.training.landed import told_elsewhere
from flywheel.workflows.pack import Pack

CODE_VERSION = "1"


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[
        "correction_batch",
        "corrected_traces",
        dg.AssetDep("served_model", partition_mapping=last_week_same_workflow),
    ],
    code_version=CODE_VERSION,
    **asset_options("prequential_results", "evaluation", "vllm", heavy=True),
)
@says_why
def prequential_results(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The week's corrected production steps, asked of last week's adapter before they train anything: a benchmark that cannot leak.

    Grain: one step x arm x epoch; no rows where nothing was corrected, or the week before trained nothing. Asked are the adapter of
    the week before, what it was judged against, and what served, through the benchmark's server and scorers. Training waits for it.
    """
    stage = Stage.begin(context, house, "prequential_results", CODE_VERSION)
    pack, settings = house.pack(stage.workflow), house.settings()
    log = stage.lake.read_weeks("promotion_log", workflow=stage.workflow)
    served = serving(log, before_week=stage.weekly, first=pack.first_incumbent)
    who = who_is_asked(stage.lake, stage.workflow, stage.weekly, served)
    if not who.arms:  # before any base model is opened: the first weeks of a workflow may not have one yet
        stage.read("corrected_traces")
        nobody = {"asked": "nobody: the week before trained nothing"}
        return stage.unchanged(nobody) or stage.write([], nobody, metadata={**nobody, "steps": 0})
    if pack.settings.serving == "elsewhere" and not _have_answered(stage):
        stage.read("corrected_traces")
        nobody = {"asked": "nobody: no server here (serving: elsewhere)"}
        return stage.unchanged(nobody) or stage.write([], nobody, metadata={**nobody, "steps": 0})
    base, renderer = house.base_model(pack), house.renderer(pack)
    steps, left_out = _steps(stage, house, pack, renderer, who)
    version = benchmark_version([step.case for step in steps], pack.contract_sha256)
    servers = servers_of(stage.lake, settings, pack, base, {arm.adapter_id for arm in who.arms})
    # An adapter that was deleted since it answered takes nothing away: what it said is kept.
    lost = {adapter: why for adapter, why in servers.gone.items() if adapter not in _have_answered(stage)}
    arms = servers.decides(arms={arm.name: arm.adapter_id for arm in who.arms}, gone=lost)
    decides = what_decides(pack, renderer, base, version, arms)
    if done := stage.unchanged(decides._asdict()):
        return done
    said = ", ".join([*(f"{arm.name} {arm.adapter_id}" for arm in who.arms), *(f"not {one}: production's steps stay here" for one in who.spared)])  # fmt: skip
    told = "; ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    benchmark = Benchmark([step.case for step in steps], version, pack, base.sha256, decides.generation_sha256)
    file = settings.scratch(stage.workflow, stage.weekly, "prequential_results") / "vllm.log"
    rows = _again(stage, benchmark, who) if steps else []
    if rows is None and pack.settings.serving == "elsewhere":
        kept = "nobody again: no server here (serving: elsewhere), earlier answers are kept"
        return dg.MaterializeResult(metadata={**stage.facts(), "asked": kept})
    if rows is None:
        rows = _asked(settings, benchmark, who, servers, file)
    whole = with_origin(rows, steps, who.trained_in)
    facts = {"asked": said, "steps": len(steps), "left_out": told, "solved": markdown_table(_solved(whole))}
    result = stage.write(whole, decides._asdict(), metadata=facts)
    for one in logs_of(servers, who.arms, file):
        forget_arms(one)
    return result


def _steps(stage: Stage, house: House, pack: Pack, renderer: Renderer, who: Asked) -> tuple[list[ProductionStep], Any]:
    """The week's steps that nobody asked has trained on, and how many answers were left out for which reason."""
    store = open_store(house.settings(), stage.workflow)
    runs = stage.lake.read_columns(
        "production_traces", ("week", "trace_id", "adapter_id"), workflow=stage.workflow
    ).filter(week=stage.weekly)
    decided = stage.lake.read_columns("conflict_decisions", ("week", "item_id"), workflow=stage.workflow).filter(
        week=stage.weekly
    )
    week = WeekOfSteps(
        stage.read("corrected_traces"),
        stage.read("correction_batch"),
        found_right(store, closed_batch(store, stage.weekly, stage.workflow)),
        set(decided["item_id"]),
        dict(runs.select("trace_id", "adapter_id").iter_rows()),
    )
    steps, left_out = production_steps(week, pack, renderer)
    kept, seen = never_seen(steps, trained_before(stage.lake, stage.workflow, stage.weekly, who.trained_in))
    return kept, left_out + seen


def _have_answered(stage: Stage) -> set[str]:
    """Adapters with scored answers in the week's partition as it lies."""
    columns = ("week", "adapter_id", "success")
    rows = stage.lake.read_columns(
        "prequential_results", columns, workflow=stage.workflow, where=pl.col("week") == stage.weekly
    )
    return set(rows.drop_nulls("success")["adapter_id"])


def _again(stage: Stage, benchmark: Benchmark, who: Asked) -> list[dict[str, Any]] | None:
    """The stored answers under today's scorers; None where they are not what would be asked now."""
    if not stage.lake.has_partition("prequential_results", workflow=stage.workflow, week=stage.weekly):
        return None
    stored = stage.lake.read_partition("prequential_results", workflow=stage.workflow, week=stage.weekly)
    return rescored(stored, benchmark, {arm.name: benchmark.cases for arm in who.arms})


def _asked(settings: Settings, benchmark: Benchmark, who: Asked, servers: Servers, log: Path) -> list[dict[str, Any]]:
    """Answers of every arm, usually from one server session; an adapter that cannot be served leaves rows that say why."""
    missing = [
        row
        for arm in who.arms
        if arm.adapter_id in servers.gone
        for row in not_run(arm, benchmark, servers.gone[arm.adapter_id])
    ]
    elsewhere = told_elsewhere(settings, benchmark.pack.name)
    sessions = evaluate_all(
        settings, servers, who.arms, benchmark, log=log, elsewhere=elsewhere, shared=shared_server()
    )
    return [*(row for _, session in sessions for row in session.rows), *missing]


def _solved(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Solved of asked, by arm and sample; the intervals are on the weekly page."""
    found = []
    for arm, sample in sorted({(row["arm"], row["slice"]) for row in rows}):
        told = [
            row["success"] for row in rows if (row["arm"], row["slice"]) == (arm, sample) and row["success"] is not None
        ]
        found.append({"arm": arm, "sample": sample, "solved": f"{sum(told)} of {len(told)}"})
    return found


@dg.asset_check(asset="prequential_results", blocking=True, partitions_def=week_by_workflow)
def scored_before_trained(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """No step of the week stands in a dataset of an earlier week, and every arm's adapter was trained earlier."""
    workflow, week = partition_of(context.partition_key)
    lake, at = house.lake(), str(week)
    rows = lake.read_columns(
        "prequential_results", ("week", "case_id", "trace_id", "checkpoint_week"), workflow=workflow
    ).filter(week=at)
    trained = trained_before(lake, workflow, at, {})
    leaked = sorted(set(rows["trace_id"]) & set(trained.traces))
    late = sorted({made for made in rows["checkpoint_week"] if made is not None and made >= at})
    told = f"{rows['case_id'].n_unique()} steps, {len(leaked)} of them in an earlier dataset; adapters trained too late: {', '.join(late) or 'none'}"
    return passed(not leaked and not late, told)
