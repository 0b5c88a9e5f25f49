"""Stage 2: `production_failures`, one failing step a run: bucket, fault, severity, evidence."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.detectors.finding import BUCKETS, FAULTS
from flywheel.failures.failure_clusters import last_seen, recurrence
from flywheel.failures.week import DETECTORS_VERSION, audit_sample, rules_of, triage_week
from flywheel.partitions import week_before, week_by_workflow
from flywheel.statistics.paired import rate
from flywheel.toolcalls.arguments import sha256_of


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_traces"], code_version=DETECTORS_VERSION,
    **asset_options("production_failures", "failures"),
)  # fmt: skip
@says_why
def production_failures(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """What went wrong in the week's runs, at which step, whose fault it was, and on what evidence.

    Grain: one failing step, the critical one of its run. Detectors see schemas of calls and of structured answers, tool errors, repeated
    calls, success claimed after an error or over an empty, cut off or partial result, values from nowhere, user objections, feedback,
    abandoned runs, labels, gold actions and the pack's
    policies. The week's clusters and how they recur are in `failure_clusters`.
    """
    stage = Stage.begin(context, house, "production_failures", DETECTORS_VERSION)
    pack = house.pack(stage.workflow)
    written = stage.note("production_traces")
    toolsets = stage.lake.read_weeks("toolsets", workflow=stage.workflow)
    answers = [one.values() for one in pack.responses]
    earlier = stage.lake.read_weeks("failure_clusters", workflow=stage.workflow, until=week_before(stage.weekly))
    # Weeks are not always read in their order: a backfill, or late traces, may change what came before.
    decides = {
        "rules": sha256_of([pack.tools, pack.settings.scaffold.model_dump(), *answers]), "earlier": sha256_of(last_seen(earlier)),
    }  # fmt: skip
    if done := stage.unchanged(decides):
        return done
    triaged = triage_week(
        stage.lake, workflow=stage.workflow, week=stage.weekly, toolsets=dict(toolsets.select("tools_sha256", "tools").rows()),
        rules=rules_of(pack), workers=house.settings().workers(pack.settings.traces.workers),
    )  # fmt: skip
    frame = triaged.failures
    clusters = recurrence(frame, triaged.opportunities, earlier, stage.weekly)
    audit = audit_sample(
        stage.lake,
        workflow=stage.workflow,
        week=stage.weekly,
        toolsets=dict(toolsets.select("tools_sha256", "tools").rows()),
    )
    facts = {
        **failure_facts(frame, written.rows, triaged.opportunities),
        "clusters": markdown_table([{k: row[k] for k in _CLUSTER} for row in clusters]),
        "schema_audit": audit,
    }
    preview = frame.select("failure_cluster", "fault", "severity", "evidence").head(20).to_dicts()
    return stage.write(frame, decides, preview=preview, metadata=facts, also={"failure_clusters": clusters})


_CLUSTER = ("failure_cluster", "status", "failures", "opportunities", "per_1000", "example")


def failure_facts(
    failures: pl.DataFrame, runs: int, opportunities: Mapping[tuple[str, str | None], int]
) -> dict[str, Any]:
    """Rates and mixes with denominators and 95 % intervals."""
    agent = failures.filter(fault="agent")
    by_tool = Counter({tool: 0 for _, tool in opportunities if tool is not None})
    for (_, tool), count in opportunities.items():
        if tool is not None:
            by_tool[tool] += count
    mix = failures.group_by("bucket", "fault").len("failures").sort("failures", "bucket", descending=[True, False])
    tools = (
        agent.filter(pl.col("tool").is_not_null())
        .group_by("tool")
        .len("failures")
        .sort("failures", "tool", descending=[True, False])
    )
    others = failures.height - agent.height
    return {
        "runs": runs,
        # Numbers, which Dagster plots over the weeks; the sentences below carry their denominators.
        "failure_share": failures.height / runs if runs else 0.0,
        "agent_failure_share": agent.height / runs if runs else 0.0,
        "failure_rate": rate(failures.height, runs),
        "agent_failure_rate": rate(agent.height, runs),
        "not_the_agents_fault": f"{others} of {failures.height} failures",
        "mix": markdown_table([{**row, "of runs": rate(row["failures"], runs)} for row in mix.to_dicts()]),
        "agent_failures_by_tool": markdown_table(
            [{**row, "of runs that called it": rate(row["failures"], by_tool[row["tool"]])} for row in tools.to_dicts()]
        ),
    }


@dg.asset_check(asset="production_failures", partitions_def=week_by_workflow)
def buckets_and_faults_are_known(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Every failure has a bucket and a fault of the declared vocabulary."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("production_failures", workflow=workflow, week=week)
    unknown = rows.filter(~pl.col("bucket").is_in(BUCKETS) | ~pl.col("fault").is_in(FAULTS))
    return passed(not unknown.height, f"{unknown.height} of {rows.height} failures are outside the vocabulary")
