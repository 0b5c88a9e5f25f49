"""Stage 8: `promotion`, one decision; and `served_model`, the external asset over which the loop closes."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import Case, benchmark_version
from flywheel.benchmark.freeze import evaluated
from flywheel.datasets.remedies import remedies_of
from flywheel.defs.announced import announced
from flywheel.defs.metadata import asset_options, group_of, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.defs.stopped import stopped_at
from flywheel.errors import FlywheelError
from flywheel.evaluation.decides import what_decides as what_generates
from flywheel.evaluation.review_store import WeekReview, waits, week_review
from flywheel.evaluation.servers import servers_of
from flywheel.lake import Lake
from flywheel.lake.since_training import accepted_since
from flywheel.partitions import week_by_workflow, workflow_of_week
from flywheel.promotion.adapter_files import problem_with
from flywheel.promotion.comparison import INCUMBENT_ENDPOINT
from flywheel.promotion.decision import (
    Judgement,
    judge,
    promotion_row,
    releases_itself,
    stopped,
    what_decides,
    withheld,
)
from flywheel.promotion.earlier import earlier
from flywheel.promotion.gate import Decision
from flywheel.promotion.next_asks import Asking, next_asks
from flywheel.promotion.pointer import entry, may_move, next_moment, serving, undecided
from flywheel.report.diffs import case_diffs, example_rows
from flywheel.serving.configuration import Configuration
from flywheel.serving.trained_on import trained_on_each
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack

served_model = dg.AssetSpec(
    "served_model",
    partitions_def=week_by_workflow,
    group_name=group_of("promotion"),
    owners=["team:ml-platform"],
    kinds={"external"},
    description="What serves after the week's decision: promotion logs it with every decision, 'unchanged' included. "
    "Traces and evaluation of the next week depend on it, which closes the loop.",
)

# The next week's batch reads it, which closes a second loop: so it is, like served_model, an asset without declared inputs.
next_asks_asset = dg.AssetSpec(
    "next_asks",
    partitions_def=week_by_workflow,
    description="What the verdict asks the next week for: failed cases by bucket and tool, the remedy, corrections wanted; written by "
    "promotion, read by the next correction_batch. Never trains. Grain: one bucket x tool.",
    **asset_options("next_asks", "promotion"),
)


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[
        "eval_results",
        "checkpoint",
        "corrected_traces",
        dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
    ],
    code_version="2",
    **asset_options("promotion", "promotion"),
)
@says_why
def promotion(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """One decision, PROMOTE, REJECT, INCONCLUSIVE or INVALID, recomputed here from the tables, with its reasons.

    Grain: one decision. Only the newest undecided week moves the pointer (one whose last word is INVALID is decided again); a past
    week re-derives its verdict and moves nothing, and what a person released or rolled back stays. Under `release: approval` a PROMOTE waits for
    `flywheel promote`; the simulated demo releases by itself. After a move the pointer file is written.
    Where the pack requires the human review of the scores, the verdict is INVALID and the week stays undecided until it is
    complete. A week that this machine could not train or evaluate stays undecided too, and says what to do.
    """
    stage = Stage.begin(context, house, "promotion", "2")
    pack, settings = house.pack(stage.workflow), house.settings()
    results, this_week = stage.read("eval_results"), stage.read("corrected_traces")
    corrections = accepted_since(stage.lake, stage.workflow, stage.weekly)
    checkpoint = stage.read("checkpoint")
    frozen = stage.read("benchmark", by_workflow=True)
    cases = evaluated(frozen, results, pack.contract_sha256)
    log = stage.lake.read_weeks("promotion_log", workflow=stage.workflow)
    first = pack.first_incumbent
    incumbent = serving(log, before_week=stage.weekly, first=first)
    before = earlier(stage.lake, stage.workflow, stage.weekly, log)
    decisive = what_decides(pack, incumbent, before)
    if corrections.height > this_week.height:  # weeks that were banked before: what they corrected was trained on now
        decisive["corrections_before"] = sorted(set(corrections["correction_id"]) - set(this_week["correction_id"]))
    review = week_review(
        results, stage.lake.read_weeks("evaluation_ratings", workflow=stage.workflow), pack, stage.weekly
    )
    waiting = waits(review, pack, stage.weekly) if results.height else []
    if review.state.decided or waiting:
        decisive["human_review"] = [review.state.sentence(), *waiting, review.disagreements.height]
    stop = None if results.height else stopped_at(stage.lake, pack, house.base_model(pack), stage.weekly, checkpoint)
    if stop:
        decisive["stopped_at"] = stop.stage
    if done := stage.unchanged(decisive):
        return done._replace(metadata={**(done.metadata or {}), **announced(stage, house, pack)})
    # While the review is open, or this machine cannot go on, nothing is logged: the week stays undecided, and may still move the pointer.
    moves = not waiting and stop is None and may_move(log, stage.weekly) and undecided(log, stage.weekly)
    _refuse_other_candidate(results, checkpoint, stage)
    if moves:
        _refuse_other_incumbent(results, incumbent, stage)
    judgement = (
        stopped(incumbent, stop.stage, stop.says, stage.weekly)
        if stop
        else withheld(judge(results, cases, corrections, checkpoint, pack, incumbent=incumbent, before=before), waiting)
    )
    if results.height:
        judgement = _with_whole_adapters(judgement, stage.lake, settings, pack, house.base_model(pack))
    decision = judgement.decision
    released = moves and releases_itself(decision, pack)
    served = judgement.candidate_adapter_id if released else serving(log, until_week=stage.weekly, first=first)
    row = promotion_row(judgement, pack, served=served, qa_mode=pack.settings.qa_mode)
    if moves:
        ran_with = _configuration(house, pack, results, cases, judgement)
        _log_decision(stage, row, judgement, pack, log, incumbent, served, ran_with)
    asks = _asks(pack, results, cases, corrections, decision.verdict)
    done = stage.write(
        [row],
        decisive,
        preview=[{"reason": reason} for reason in decision.reasons],
        metadata={**_facts(row, results, frozen, review), "pointer_moved": moves, "next_asks": markdown_table(asks)},
        also={**review.tables(), "next_asks": asks},
    )
    stage.context.log_event(
        dg.AssetMaterialization(
            "next_asks", partition=context.partition_key, metadata={"dagster/partition_row_count": len(asks)}
        )
    )
    return done._replace(metadata={**(done.metadata or {}), **announced(stage, house, pack)})


def _asks(
    pack: Pack, results: pl.DataFrame, cases: list[Case], corrections: pl.DataFrame, verdict: str
) -> list[dict[str, Any]]:
    """Rows of `next_asks` under the pack's remedies; none in a week in which nothing was evaluated."""
    if not results.height:
        return []
    own = pack.settings.datasets
    asking = Asking(lambda bucket: remedies_of(bucket, own.remedies), own.examples_per_branch, corrections, verdict)
    return next_asks(results, cases, asking)


def _log_decision(
    stage: Stage,
    row: dict[str, Any],
    judgement: Judgement,
    pack: Pack,
    log: pl.DataFrame,
    incumbent: str,
    served: str,
    ran_with: str | None,
) -> None:
    """The decision as an entry of the append-only log; refused where somebody acted since `log` was read."""
    moved = entry(
        stage.weekly, row["decision_id"], row["verdict"], incumbent, served, next_moment(log, datetime.now(UTC)),
        candidate=judgement.candidate_adapter_id, reason=judgement.decision.reasons[0], tools_sha256=pack.tools_sha256,
        configuration=ran_with,
    )  # fmt: skip
    stage.lake.append_new(
        "promotion_log", [moved], workflow=stage.workflow, run_id=stage.context.run_id, expected=log.height
    )


def _configuration(
    house: House, pack: Pack, results: pl.DataFrame, cases: list[Case], judgement: Judgement
) -> str | None:
    """JSON of the configuration that both arms were generated under, the adapter left out; None where the pack was edited since.

    What an endpoint was asked stands beside it.
    """
    if not results.height:
        return None
    base, renderer = house.base_model(pack), house.renderer(pack)
    candidate, incumbent = judgement.candidate_adapter_id, judgement.incumbent_adapter_id
    servers = servers_of(house.lake(), house.settings(), pack, base, {incumbent, candidate}, trusted={candidate})
    arms = servers.decides(candidate=candidate, incumbent=incumbent, gone=servers.gone)
    expected = what_generates(
        pack, renderer, base, benchmark_version(cases, pack.contract_sha256), arms
    ).generation_sha256
    if set(results["generation_sha256"]) != {expected}:
        return None
    described = results.filter(arm="candidate")["server"].drop_nulls()
    version = json.loads(described[0]).get("vllm") if described.len() else None
    parts = Configuration("pack", pack, base, "").parts(version)
    if incumbent in servers.endpoints:
        parts[INCUMBENT_ENDPOINT] = servers.endpoints[incumbent].asked()
    return canonical_json(parts)


def _facts(row: dict[str, Any], results: pl.DataFrame, frozen: pl.DataFrame, review: WeekReview) -> dict[str, Any]:
    """What an analyst reads beside the reasons: both rates, the cases that changed, the people's review."""
    numbers = ("candidate_success", "incumbent_success", "difference")
    return {
        **{name: row[name] for name in numbers if row[name] is not None},
        "cases_that_changed": markdown_table(example_rows(case_diffs(results, frozen))),
        "human_review": review.state.sentence() if review.sample.height else "nothing was evaluated",
        "grader_disagreements": review.disagreements.height,
    }


def _refuse_other_candidate(results: pl.DataFrame, checkpoint: pl.DataFrame, stage: Stage) -> None:
    """The week's own adapter is judged: one trained or imported since the evaluation has no results, and what it forgot is not the other's."""
    judged, trained = set(results.filter(arm="candidate")["adapter_id"]), set(checkpoint["adapter_id"])
    if judged and judged != trained:
        raise FlywheelError(
            f"{', '.join(sorted(judged))} was evaluated, and the week's checkpoint is {', '.join(sorted(trained)) or 'none'}", where="eval_results",
            remedy=f"flywheel run --workflow {stage.workflow} --week {stage.week} --stage eval_results, then the same with promotion",
        )  # fmt: skip


def _refuse_other_incumbent(results: pl.DataFrame, incumbent: str, stage: Stage) -> None:
    """A candidate is judged against what serves: a rollback since the evaluation makes it a comparison with something else."""
    judged = set(results.filter(arm="incumbent")["adapter_id"])
    if judged and judged != {incumbent}:
        raise FlywheelError(
            f"the candidate was evaluated against {', '.join(sorted(judged))}, and {incumbent} serves meanwhile", where="eval_results",
            remedy=f"flywheel run --workflow {stage.workflow} --week {stage.week} --stage eval_results, then the same with promotion",
        )  # fmt: skip


def _with_whole_adapters(
    judgement: Judgement, lake: Lake, settings: Settings, pack: Pack, base: BaseModel
) -> Judgement:
    """The judgement, or INVALID where the files of either side are gone or were changed: what serves then stays."""
    sides = (("candidate", judgement.candidate_adapter_id), ("incumbent", judgement.incumbent_adapter_id))
    on, lost = trained_on_each(lake, pack, base, settings.models(), {adapter for _, adapter in sides})
    found = [
        (name, lost.get(adapter) or problem_with(settings, pack.name, adapter, on[adapter].base))
        for name, adapter in sides
    ]
    reasons = [f"the {name} cannot serve: {problem}" for name, problem in found if problem]
    return judgement._replace(decision=Decision("INVALID", reasons)) if reasons else judgement


@dg.asset_check(asset="promotion", partitions_def=week_by_workflow)
def gate_is_met(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """The week's candidate was promoted; the reasons stand here when it was not."""
    workflow, week = partition_of(context.partition_key)
    row = house.lake().read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
    sentence = f"{row['verdict']}: {'; '.join(json.loads(row['reasons']))}"
    return passed(row["verdict"] == "PROMOTE", sentence, severity=dg.AssetCheckSeverity.WARN)
