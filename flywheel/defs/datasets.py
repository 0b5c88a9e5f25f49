"""Stage 5: `sft_dataset` and `preference_dataset`, one multi-asset: one dedup, one leak check.

What goes here: reading corrections and demonstrations, writing both tables. What does not: how rows are made
(`flywheel.datasets`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import coverage, load_cases
from flywheel.benchmark.leaks import leaks_in, read_registry
from flywheel.datasets.mix import supervised_mix
from flywheel.datasets.preference import preference_rows
from flywheel.datasets.steps import steps_of_correction, steps_of_demonstration
from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.errors import FlywheelError
from flywheel.partitions import all_weeks_so_far, week_by_workflow, workflow_of_week

_OPTIONS = {
    name: {key: value for key, value in asset_options(name, "datasets").items()}
    for name in ("sft_dataset", "preference_dataset")
}


@dg.multi_asset(
    partitions_def=week_by_workflow,
    specs=[
        dg.AssetSpec(
            name,
            description=description,
            code_version="1",
            deps=[
                dg.AssetDep("corrected_traces", partition_mapping=all_weeks_so_far),
                dg.AssetDep("demonstrations", partition_mapping=workflow_of_week),
                dg.AssetDep("benchmark", partition_mapping=workflow_of_week),
            ],
            **_OPTIONS[name],
        )
        for name, description in (
            (
                "sft_dataset",
                "Supervised rows of all weeks so far: history -> next assistant message, from accepted corrections and "
                "demonstrations, one answer a history, nothing near the benchmark. Grain: one row.",
            ),
            (
                "preference_dataset",
                "Preference pairs of all weeks so far: the corrected step over the model's own, after the same history. "
                "Grain: one pair.",
            ),
        )
    ],
)
def training_datasets(context: dg.AssetExecutionContext, house: House) -> Iterator[dg.MaterializeResult]:
    """Both datasets from one pass over corrections and demonstrations."""
    sft = Stage.begin(context, house, "sft_dataset", "1")
    preference = Stage.begin(context, house, "preference_dataset", "1")
    pack = house.pack(sft.workflow)
    refuse_without_benchmark(pack.folder, pack.tools)
    corrections = sft.read_weeks("corrected_traces")
    demonstrations = sft.read_or_empty("demonstrations", by_workflow=True)
    sft.read("benchmark", by_workflow=True)
    registry = read_registry(sft.lake, sft.workflow)
    preference.versions, preference.contents = sft.versions, sft.contents
    settings = {"max_prompt_tokens": pack.settings.training.max_prompt_tokens, "model": house.base_model(pack).sha256}
    unchanged = [stage.unchanged(settings) for stage in (sft, preference)]
    if unchanged[0] and unchanged[1]:
        yield from (
            result._replace(asset_key=dg.AssetKey(name))
            for result, name in zip(unchanged, _OPTIONS, strict=True)
            if result
        )
        return
    renderer = house.renderer(pack)
    corrected = list(corrections.sort("week", "correction_id").iter_rows(named=True))
    steps = [step for row in corrected for step in steps_of_correction(row)]
    steps += [step for row in demonstrations.iter_rows(named=True) for step in steps_of_demonstration(row)]
    limit = settings["max_prompt_tokens"]
    mix = supervised_mix(steps, registry, renderer, max_prompt_tokens=limit)
    kept = {row["source_id"] for row in mix.rows if row["source"] == "correction"}
    pairs = preference_rows(corrected, kept, renderer, max_prompt_tokens=limit)
    facts = {
        "steps_read": len(steps),
        **{f"left_out_{reason}": count for reason, count in mix.left_out.items()},
        **{
            f"from_{source}": sum(row["source"] == source for row in mix.rows)
            for source in ("correction", "demonstration")
        },
    }
    shown = [{key: row[key] for key in ("source", "failure_cluster", "prompt_tokens", "target")} for row in mix.rows]
    shown_pairs = [{key: row[key] for key in ("failure_cluster", "chosen", "rejected")} for row in pairs]
    yield sft.write(mix.rows, settings, preview=shown, metadata=facts)._replace(asset_key=dg.AssetKey("sft_dataset"))
    yield preference.write(pairs, settings, preview=shown_pairs)._replace(asset_key=dg.AssetKey("preference_dataset"))


def refuse_without_benchmark(folder: Path, tools: list[dict[str, Any]]) -> None:
    """`learn` is refused until the benchmark covers the four categories (design.md 8.1)."""
    missing = coverage(load_cases(folder / "benchmark", tools))
    if missing:
        raise FlywheelError(
            f"the benchmark has no {', '.join(missing)} cases; nothing may train before it covers all four categories",
            where=str(folder / "benchmark"),
            remedy=f"write benchmark/{missing[0]}.jsonl: one case a line, as in the support_desk pack",
        )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("no_benchmark_leak", asset=name, blocking=True, partitions_def=week_by_workflow,
                          description="No row shares a conversation or near-duplicate with any case ever frozen.")
        for name in _OPTIONS
    ]
)  # fmt: skip
def no_benchmark_leak(context: dg.AssetCheckExecutionContext, house: House) -> Iterator[dg.AssetCheckResult]:
    """Scan the written rows against the fingerprint registry; fails when a case is planted in the data."""
    workflow, week = partition_of(context.partition_key)
    lake = house.lake()
    registry = read_registry(lake, workflow)
    for table in _OPTIONS:
        rows = lake.read_partition(table, workflow=workflow, week=week)
        leaks = leaks_in(rows, registry)
        found = "; ".join(map(str, leaks[:5]))
        protected = registry.select(pl.col("case_id").n_unique()).item()
        sentence = f"{len(leaks)} of {rows.height} rows touch the {protected} protected cases" + (
            f": {found}" if found else ""
        )
        yield passed(not leaks, sentence)._replace(asset_key=dg.AssetKey(table), check_name="no_benchmark_leak")
