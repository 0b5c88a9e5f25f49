"""Stage 2: `production_failures`, one failing step a run: bucket, fault, severity, evidence."""

import dagster as dg
import polars as pl

from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.failures.finding import BUCKETS, FAULTS
from flywheel.failures.triage import triage
from flywheel.partitions import week_by_workflow


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_traces"], code_version="1",
    **asset_options("production_failures", "failures"),
)  # fmt: skip
def production_failures(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """What went wrong in the week's runs, at which step, whose fault it was, and on what evidence.

    Grain: one failing step, the critical one of its run. Detectors see schemas, tool errors, repeated calls, success
    claimed after an error, user objections, feedback, abandoned runs and the pack's policies.
    """
    stage = Stage.begin(context, house, "production_failures", "1")
    traces = stage.read("production_traces")
    if done := stage.unchanged({}):
        return done
    rows = [failure for trace in traces.iter_rows(named=True) if (failure := triage(trace))]
    frame = (
        pl.DataFrame(rows, infer_schema_length=None)
        if rows
        else pl.DataFrame({"bucket": [], "fault": [], "failure_cluster": []})
    )
    mix = frame.group_by("bucket", "fault").len("failures").sort("failures", descending=True)
    clusters = (
        frame.group_by("failure_cluster").len("failures").sort("failures", "failure_cluster", descending=[True, False])
    )
    facts = {
        "runs": traces.height,
        "failure_rate": len(rows) / traces.height if traces.height else 0.0,
        "mix": markdown_table([{**row, "of runs": traces.height} for row in mix.to_dicts()]),
        "clusters": markdown_table(clusters.to_dicts()),
    }
    preview = [{key: row[key] for key in ("failure_cluster", "fault", "severity", "evidence")} for row in rows]
    return stage.write(rows, {}, preview=preview, metadata=facts)


@dg.asset_check(asset="production_failures", partitions_def=week_by_workflow)
def buckets_and_faults_are_known(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Every failure has a bucket and a fault of the declared vocabulary."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("production_failures", workflow=workflow, week=week)
    unknown = rows.filter(~pl.col("bucket").is_in(BUCKETS) | ~pl.col("fault").is_in(FAULTS))
    return passed(not unknown.height, f"{unknown.height} of {rows.height} failures are outside the vocabulary")
