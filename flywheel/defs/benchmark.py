"""Beside the loop: `benchmark` (frozen cases and their fingerprints) and `demonstrations`, both by workflow only."""

import dagster as dg
import polars as pl

from flywheel.benchmark.cases import REQUIRED_CATEGORIES, coverage, load_cases
from flywheel.benchmark.fingerprints import FINGERPRINT_VERSION, tool_vocabulary
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row, refuse_changed_cases
from flywheel.benchmark.lint.run import lint_cases, refuse_errors
from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, passed
from flywheel.partitions import workflows
from flywheel.toolcalls.arguments import sha256_of


@dg.asset(partitions_def=workflows, code_version="1", **asset_options("benchmark", "benchmark"))
@says_why
def benchmark(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Frozen cases of the pack: versioned, append-only, with their fingerprints registered so that they never train.

    Grain: one case. A case that changed after freezing is refused: supersede it under a new id. One that the pack no longer lists is
    retired: not evaluated any more, still barred. A case in which the lint finds an error is not frozen. Tags may be added at any time.
    """
    stage = Stage.begin(context, house, "benchmark", "1")
    pack = house.pack(stage.workflow)
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    known = stage.lake.read_weeks("benchmark", workflow=stage.workflow)
    findings = lint_cases(cases, pack)
    frozen_errors = refuse_errors(findings, sorted({case.id for case in cases} - set(known["case_id"])))
    vocabulary = tool_vocabulary(pack.tools)
    rows = [frozen_row(case, pack.tools_sha256, vocabulary) for case in cases]
    refuse_changed_cases(known, rows)
    settings = {
        "cases": sorted(row["content_sha256"] for row in rows),
        "fingerprints": FINGERPRINT_VERSION,
        "tags": sha256_of({row["case_id"]: row["tags"] for row in rows}),
    }
    if done := stage.unchanged(settings):
        return done
    frozen = frozen_and_retired(known, rows, vocabulary)
    by_category = (
        frozen.group_by("category")
        .agg(cases=pl.len(), retired=pl.col("retired").sum(), clusters=pl.col("case_cluster").n_unique())
        .sort("category")
    )
    facts = {
        "cases_added": frozen.height - known.height,
        "cases_retired": int(frozen["retired"].sum()),
        "errors_in_frozen_cases": "; ".join(map(str, frozen_errors[:10])) or "none",
        "lint_warnings": sum(finding.level == "warning" for finding in findings),
        "missing_categories": ", ".join(coverage(cases)) or "none",
    }
    return stage.write(frozen, settings, preview=by_category.to_dicts(), metadata=facts)


@dg.asset_check(asset="benchmark", partitions_def=workflows)
def four_categories_are_covered(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """The benchmark covers tool calling, multi-step, refusal and recovery; `learn` is refused without them."""
    pack = house.pack(context.partition_key)
    missing = coverage(load_cases(pack.folder / "benchmark", pack.tools))
    return passed(not missing, f"missing: {', '.join(missing)}" if missing else f"all of {', '.join(REQUIRED_CATEGORIES)}",
                  severity=dg.AssetCheckSeverity.WARN)  # fmt: skip


@dg.asset(partitions_def=workflows, code_version="2", **asset_options("demonstrations", "benchmark"))
@says_why
def demonstrations(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Runs of the workflow done right by a person or teacher and accepted under the QA mode; they may train.

    Grain: one run, read from the pack's `demonstrations/*.jsonl`. A pack without that folder has none.
    """
    stage = Stage.begin(context, house, "demonstrations", "2")
    pack = house.pack(stage.workflow)
    rows = read_demonstrations(pack.folder / "demonstrations")
    # The whole rows: who accepted one, whose run it is and where it trains from are no part of its id.
    settings = {"content": sha256_of(rows)}
    if done := stage.unchanged(settings):
        return done
    preview = [
        {key: row[key] for key in ("demonstration_id", "annotator_kind", "annotator", "reviewer", "qa_mode")}
        for row in rows
    ]
    return stage.write(rows, settings, preview=preview)
