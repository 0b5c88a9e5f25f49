"""Stage 5: `sft_dataset` and `preference_dataset`, one multi-asset: one dedup, one split, one leak check.

What goes here: what a build depends on, writing its tables, its card and its checks. What does not: how rows are made
(`flywheel.datasets`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from flywheel.benchmark.cases import coverage, load_cases
from flywheel.benchmark.leaks import leaks_in, read_registry
from flywheel.datasets.account import lost_to_length
from flywheel.datasets.build import Build, build
from flywheel.datasets.card import card
from flywheel.datasets.conflicts import sentence
from flywheel.datasets.poisoning import refuse_suspicious, released_strings
from flywheel.datasets.ration import row_budget
from flywheel.datasets.refresh import Workshop
from flywheel.datasets.replay import find_replay, prompts_of
from flywheel.defs.metadata import asset_options, column_lineage
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.errors import FlywheelError
from flywheel.partitions import all_weeks_so_far, week_by_workflow, workflow_of_week
from flywheel.workflows.guesses import open_guesses

CODE_VERSION = "6"
_DESCRIPTIONS = {
    "sft_dataset": "Supervised rows of all weeks so far: history -> next assistant message, from accepted corrections, demonstrations, "
    "verified-good steps and replay, one answer a context, nothing near the benchmark. Grain: one row.",
    "preference_dataset": "Preference pairs of all weeks so far: the corrected step over the model's own, after the same history. "
    "Grain: one pair.",
}
_CORRECTED = {"messages": "messages", "target": "messages", "chosen": "messages", "rejected": "rejected_message", "tools": "tools",
              "source_id": "correction_id", "bucket": "bucket", "failure_cluster": "failure_cluster", "trace_id": "trace_id",
              "conversation_id": "conversation_id", "principal_ref": "principal_ref", "verified_by": "verified_by"}  # fmt: skip
_SHOWN = {"messages": "messages", "target": "messages", "tools": "tools", "source_id": "demonstration_id"}
_LINEAGE = {
    "sft_dataset": {"corrected_traces": _CORRECTED, "demonstrations": _SHOWN},
    "preference_dataset": {"corrected_traces": _CORRECTED},
}


@dg.multi_asset(
    partitions_def=week_by_workflow,
    specs=[
        dg.AssetSpec(
            name,
            description=description,
            code_version=CODE_VERSION,
            deps=[
                dg.AssetDep("corrected_traces", partition_mapping=all_weeks_so_far),
                dg.AssetDep("demonstrations", partition_mapping=workflow_of_week),
                dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
            ],
            **asset_options(name, "datasets"),
        )
        for name, description in _DESCRIPTIONS.items()
    ],
)
@says_why
def training_datasets(context: dg.AssetExecutionContext, house: House) -> Iterator[dg.MaterializeResult]:
    """Both datasets from one pass over corrections, demonstrations, verified-good steps and replay."""
    sft = Stage.begin(context, house, "sft_dataset", CODE_VERSION)
    preference = Stage.begin(context, house, "preference_dataset", CODE_VERSION)
    pack = house.pack(sft.workflow)
    refuse_without_benchmark(pack.folder, pack.tools)
    base = house.base_model(pack)
    renderer = house.renderer(pack)
    replay = find_replay(house.settings().replay(), base.sha256, renderer.template_sha256, prompts_of(pack))
    shop = Workshop(sft.lake, pack, renderer, base.sha256, context.run_id, replay)
    settings = _inputs(sft, shop)
    preference.versions, preference.contents = sft.versions, sft.contents
    unchanged = [stage.unchanged(settings) for stage in (sft, preference)]
    if unchanged[0] and unchanged[1]:
        yield from (
            result._replace(asset_key=dg.AssetKey(name))
            for result, name in zip(unchanged, _DESCRIPTIONS, strict=True)
            if result
        )
        return
    made = build(shop, sft.weekly)
    conflicts = sentence(
        made.conflicts, sft.lake.read_weeks("conflict_decisions", workflow=sft.workflow, until=sft.week)
    )
    context.log.info(conflicts)
    released = released_strings(sft.lake, sft.workflow, sft.weekly)
    refuse_suspicious(made.suspicions, released, workflow=sft.workflow, week=sft.weekly)
    shown = [{key: row[key] for key in ("source", "failure_cluster", "prompt_tokens", "target")} for row in made.sft]
    shown_pairs = [{key: row[key] for key in ("failure_cluster", "chosen", "rejected")} for row in made.pairs]
    also = {"dataset_conflicts": made.conflicts, "dataset_left_out": made.left_out}
    guessed = f"{len(open_guesses(pack.folder))} statements of the pack are guesses that no person has confirmed"
    facts = {
        **_facts(made),
        "conflicts": conflicts,
        "guesses": guessed,
        "card": dg.MetadataValue.md(card(shop, made, sft.weekly)),
    }
    yield sft.write(
        made.sft,
        settings,
        preview=shown,
        metadata={**facts, **column_lineage(_LINEAGE["sft_dataset"], made.sft)},
        also=also,
    )._replace(asset_key=dg.AssetKey("sft_dataset"))
    yield preference.write(
        made.pairs, settings, preview=shown_pairs, metadata=column_lineage(_LINEAGE["preference_dataset"], made.pairs)
    )._replace(asset_key=dg.AssetKey("preference_dataset"))


def _inputs(stage: Stage, shop: Workshop) -> dict[str, Any]:
    """Note every input of a build; returns the settings that decide it."""
    pack = shop.pack
    stage.note_weeks("corrected_traces")
    stage.note_weeks("conflict_decisions")
    if pack.settings.verifiers:
        for table in ("production_traces", "production_failures"):  # a run that a failure is found on is no good one
            stage.note_weeks(table)
    for table in ("demonstrations", "dataset_withdrawals", "dataset_releases", "benchmark_drafts"):
        stage.read_or_empty(table, by_workflow=True)
    stage.read("benchmark", by_workflow=True)
    return {
        **pack.settings.datasets.model_dump(),
        "row_budget": row_budget(pack.settings),
        "verifiers": list(pack.settings.verifiers),
        "max_prompt_tokens": pack.settings.training.max_prompt_tokens,
        "model": shop.base_sha256,
        "tools": pack.tools_sha256,
        "replay_set": shop.replay.manifest["answers_sha256"] if shop.replay else "none",
        **({"responses": [one.values() for one in pack.responses]} if pack.responses else {}),
    }


def _facts(made: Build) -> dict[str, Any]:
    counts = made.mix.counts
    return {
        "steps_read": sum(before for before, _ in counts.values()),
        **{f"left_out_{reason}": count for reason, count in made.mix.reasons().items()},
        **{f"from_{source}": f"{after} of {before}" for source, (before, after) in counts.items()},
        "held_out_rows": made.held_out,
        "weeks_computed": ", ".join(made.computed) or "none",
        "notes": "; ".join(made.mix.notes) or "none",
    }


def refuse_without_benchmark(folder: Path, tools: list[dict[str, Any]]) -> None:
    """`learn` is refused until the benchmark covers the four categories (design.md 8.1)."""
    missing = coverage(load_cases(folder / "benchmark", tools))
    if missing:
        raise FlywheelError(
            f"the benchmark has no {', '.join(missing)} cases; nothing may train before it covers all four categories",
            where=str(folder / "benchmark"),
            remedy=f"flywheel benchmark new {missing[0]} --workflow {folder.name} writes one to fill in; draft and import make more (docs/benchmark.md)",
        )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("no_benchmark_leak", asset=name, blocking=True, partitions_def=week_by_workflow,
                          description="No row shares a conversation or near-duplicate with any case ever frozen.")
        for name in _DESCRIPTIONS
    ]
)  # fmt: skip
def no_benchmark_leak(context: dg.AssetCheckExecutionContext, house: House) -> Iterator[dg.AssetCheckResult]:
    """Scan the written rows against the fingerprint registry; fails when a case is planted in the data."""
    workflow, week = partition_of(context.partition_key)
    lake = house.lake()
    registry = read_registry(lake, workflow)
    for table in _DESCRIPTIONS:
        rows = lake.read_partition(table, workflow=workflow, week=week)
        leaks = leaks_in(rows, registry)
        found = "; ".join(map(str, leaks[:5]))
        sentence = f"{len(leaks)} of {rows.height} rows touch the {registry.height} protected cases" + (
            f": {found}" if found else ""
        )
        yield passed(not leaks, sentence)._replace(asset_key=dg.AssetKey(table), check_name="no_benchmark_leak")


@dg.asset_check(asset="sft_dataset", blocking=True, partitions_def=week_by_workflow)
def no_correction_is_lost(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Every accepted correction of the week is in the dataset, or was left out for a reason other than its length.

    The pack's `datasets.lost_to_length` allows for a number of corrections that are too long.
    """
    workflow, week = partition_of(context.partition_key)
    allowed = house.pack(workflow).settings.datasets.lost_to_length
    long, corrections = lost_to_length(house.lake(), workflow, str(week))
    named = f": {', '.join(long[:5])}" if long else ""
    return passed(
        len(long) <= allowed,
        f"{len(long)} of {corrections} corrections are lost to their length, {allowed} are allowed{named}; "
        "raise training.max_prompt_tokens, or set datasets.context_policy to what the agent does",
    )
