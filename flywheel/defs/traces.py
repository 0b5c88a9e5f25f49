"""Stage 1: `production_traces`, with every inbox line accounted for; refused lines go to `quarantined_records`."""

import dagster as dg
import polars as pl

from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.partitions import last_week_same_workflow, week_before, week_bounds, week_by_workflow, week_of
from flywheel.traces.inbox import read_inbox

quarantined_records = dg.AssetSpec(
    "quarantined_records",
    partitions_def=week_by_workflow,
    deps=["production_traces"],
    description="Inbox lines that were refused, each with file, offset, reason and remedy; written by production_traces. "
    "Grain: one line.",
    **asset_options("quarantined_records", "traces"),
)


@dg.asset(
    partitions_def=week_by_workflow,
    deps=[dg.AssetDep("served_model", partition_mapping=last_week_same_workflow)],
    code_version="1",
    **asset_options("production_traces", "traces"),
)
def production_traces(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Agent runs of the week as production logged them, in canonical form, from the workflow's inbox folder.

    Grain: one run. Refused lines are in `quarantined_records`, the account of every file in `inbox_ledger`.
    """
    stage = Stage.begin(context, house, "production_traces", "1")
    house.pack(stage.workflow)  # a broken pack is said before any work
    week_before(stage.weekly)
    inbox = house.settings().inbox(stage.workflow)
    ledger = stage.lake.read_weeks("inbox_ledger", workflow=stage.workflow)
    reading = read_inbox(
        inbox, week=stage.weekly, week_of=week_of, week_start=lambda week: week_bounds(week)[0], ledger=ledger
    )
    rows = reading.traces.get(stage.weekly, [])
    refused = reading.quarantined.get(stage.weekly, [])
    settings = {"files": {row["source_file"]: row["file_sha256"] for row in reading.ledger}, "first": {
        row["source_file"]: row["first_read_week"] for row in reading.ledger}}  # fmt: skip
    if done := stage.unchanged(settings):
        return done
    stage.lake.replace_partition("inbox_ledger", reading.ledger, workflow=stage.workflow, run_id=context.run_id)
    accounts = [
        {name: row[name] for name in ("source_file", "read", "accepted", "duplicate", "quarantined")}
        for row in reading.ledger
    ]
    facts = {
        "quarantined": len(refused),
        "quarantine": markdown_table(
            [{k: row[k] for k in ("source_file", "source_line", "reason_code", "remedy")} for row in refused]
        ),
        "inbox": markdown_table(accounts),
        "other_weeks_seen": ", ".join(sorted(set(reading.traces) - {stage.weekly})) or "none",
    }
    preview = [
        {k: row[k] for k in ("trace_id", "adapter_id", "assistant_steps", "tool_calls", "outcome_status")}
        for row in rows
    ]
    result = stage.write(rows, settings, preview=preview, metadata=facts, also={"quarantined_records": refused})
    counted = {"dagster/partition_row_count": len(refused), "preview": facts["quarantine"]}
    context.log_event(dg.AssetMaterialization("quarantined_records", partition=context.partition_key, metadata=counted))
    return result


@dg.asset_check(asset="production_traces", blocking=True, partitions_def=week_by_workflow)
def every_line_is_accounted_for(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """For every inbox file: lines read = accepted + duplicate + quarantined."""
    workflow, _ = partition_of(context.partition_key)
    ledger = house.lake().read_partition("inbox_ledger", workflow=workflow)
    wrong = ledger.filter(pl.col("read") != pl.col("accepted") + pl.col("duplicate") + pl.col("quarantined"))
    sums = {name: int(ledger[name].sum()) for name in ("read", "accepted", "duplicate", "quarantined")}
    sentence = f"{sums['read']} lines read = {sums['accepted']} accepted + {sums['duplicate']} duplicate + {sums['quarantined']} quarantined"
    return passed(wrong.height == 0, sentence if not wrong.height else f"wrong: {', '.join(wrong['source_file'])}")
