"""Beside the loop: `benchmark` (frozen cases and their fingerprints) and `demonstrations`, both by workflow only."""

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import REQUIRED_CATEGORIES, coverage, load_cases
from flywheel.benchmark.fingerprints import fingerprints
from flywheel.benchmark.freeze import frozen_row, refuse_changed_cases
from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, passed
from flywheel.partitions import workflows


@dg.asset(partitions_def=workflows, code_version="1", **asset_options("benchmark", "benchmark"))
def benchmark(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Frozen cases of the pack: versioned, append-only, with their fingerprints registered so that they never train.

    Grain: one case. A case that changed after freezing is refused: supersede it under a new id.
    """
    stage = Stage.begin(context, house, "benchmark", "1")
    pack = house.pack(stage.workflow)
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    known = stage.read_or_empty("benchmark", by_workflow=True)
    rows = [frozen_row(case, pack.tools_sha256) for case in cases]
    refuse_changed_cases(known, rows)
    registered = [fingerprint for case in cases for fingerprint in fingerprints(case)]
    stage.lake.append_new("benchmark_fingerprints", registered, workflow=stage.workflow, run_id=context.run_id)
    added = stage.lake.append_new("benchmark", rows, workflow=stage.workflow, run_id=context.run_id)
    frozen = stage.read("benchmark", by_workflow=True)
    by_category = (
        frozen.group_by("category").agg(cases=pl.len(), clusters=pl.col("case_cluster").n_unique()).sort("category")
    )
    return dg.MaterializeResult(
        metadata={
            **stage.facts(),
            "cases_added": added,
            "missing_categories": ", ".join(coverage(cases)) or "none",
            "preview": markdown_table(by_category.to_dicts()),
        }
    )


@dg.asset_check(asset="benchmark", partitions_def=workflows)
def four_categories_are_covered(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """The benchmark covers tool calling, multi-step, refusal and recovery; `learn` is refused without them."""
    pack = house.pack(context.partition_key)
    missing = coverage(load_cases(pack.folder / "benchmark", pack.tools))
    return passed(not missing, f"missing: {', '.join(missing)}" if missing else f"all of {', '.join(REQUIRED_CATEGORIES)}",
                  severity=dg.AssetCheckSeverity.WARN)  # fmt: skip


@dg.asset(partitions_def=workflows, code_version="1", **asset_options("demonstrations", "benchmark"))
def demonstrations(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Runs of the workflow done right by a person or teacher and accepted under the QA mode; they may train.

    Grain: one run, read from the pack's `demonstrations/*.jsonl`. A pack without that folder has none.
    """
    stage = Stage.begin(context, house, "demonstrations", "1")
    pack = house.pack(stage.workflow)
    rows = read_demonstrations(pack.folder / "demonstrations")
    settings = {"content": sorted(row["demonstration_id"] for row in rows)}
    if done := stage.unchanged(settings):
        return done
    preview = [
        {key: row[key] for key in ("demonstration_id", "annotator_kind", "annotator", "reviewer", "qa_mode")}
        for row in rows
    ]
    return stage.write(rows, settings, preview=preview)
