"""Stages 3 and 4: `correction_batch` goes out to people, `corrected_traces` comes back from them."""

import json

import dagster as dg
import polars as pl

from flywheel.corrections.events import EventStore
from flywheel.corrections.released import closed_batch, corrected_rows, summary
from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.failures.selection import select
from flywheel.lake.content import content_sha256
from flywheel.partitions import week_before, week_by_workflow
from flywheel.toolcalls.schema_check import check_call


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_failures", "production_traces"], code_version="2",
    **asset_options("correction_batch", "corrections"),
)  # fmt: skip
def correction_batch(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """What is handed to the experts this week, in order, each item with why it was picked.

    Grain: one item. A batch that people already work on is frozen: later failures enter the next one.
    """
    stage = Stage.begin(context, house, "correction_batch", "2")
    pack, store = house.pack(stage.workflow), EventStore(house.settings().qa_store(stage.workflow))
    failures, traces = _candidates(stage)
    settings = pack.settings.batch.model_dump()
    batch = store.batch_of(stage.weekly, stage.workflow)
    written = stage.lake.lineage("correction_batch", workflow=stage.workflow, week=stage.week)
    if batch and batch.frozen and written:
        context.log.info("people already work on this batch: it stays as handed out; what is new enters the next one")
        frozen = stage.lake.read_partition("correction_batch", workflow=stage.workflow, week=stage.week)
        return dg.MaterializeResult(metadata={**stage.facts(), "frozen": True, "items": frozen.height})
    if done := stage.unchanged(settings):
        return done
    before = week_before(stage.weekly)
    near = stage.lake.read_weeks("near_duplicates", workflow=stage.workflow, until=stage.weekly)
    toolsets = stage.lake.read_weeks("toolsets", workflow=stage.workflow)
    known = stage.lake.read_weeks("failure_clusters", workflow=stage.workflow, until=before)
    picked = select(
        failures, traces, groups=dict(near.select("trace_id", "near_duplicate_group").rows()),
        toolsets=dict(toolsets.select("tools_sha256", "tools").rows()),
        earlier=stage.lake.read_weeks("correction_batch", workflow=stage.workflow, until=before),
        known_clusters=set(known["failure_cluster"]), settings=pack.settings.batch, week=stage.weekly,
    )  # fmt: skip
    columns = ("position", "failure_cluster", "severity", "picked_because", "priority")
    preview = [{name: item[name] for name in columns} for item in picked.items]
    facts = {
        "items": len(picked.items),
        "failures": failures.height,
        **{f"passed_over_{k}": v for k, v in picked.passed_over.items()},
    }
    store.open_batch(
        week=stage.weekly, workflow=stage.workflow, version=picked.version,
        item_ids=[item["item_id"] for item in picked.items], qa_mode=pack.settings.qa_mode,
    )  # fmt: skip
    return stage.write(picked.items, settings, preview=preview, metadata=facts)


def _candidates(stage: Stage) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Failures and traces that may be handed out: the week's, and those of earlier weeks that this week's reading brought."""
    failures, traces = stage.read("production_failures"), stage.read("production_traces")
    before = week_before(stage.weekly)
    late = stage.lake.read_weeks("production_traces", workflow=stage.workflow, until=before).filter(
        first_read_week=stage.weekly
    )
    if not late.height:
        return failures, traces
    stage.contents["late"] = content_sha256(late.select("trace_id", "content_sha256"))
    found = stage.lake.read_weeks("production_failures", workflow=stage.workflow, until=before)
    found = found.filter(pl.col("trace_id").is_in(late["trace_id"].implode()))
    stage.context.log.info(
        f"{late.height} late runs of earlier weeks, {found.height} of them failed, may enter this batch"
    )
    return pl.concat([failures, found]), pl.concat([traces, late])


@dg.asset(
    partitions_def=week_by_workflow, deps=["correction_batch"], code_version="1",
    **asset_options("corrected_traces", "corrections"),
)  # fmt: skip
def corrected_traces(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Corrections the QA accepted in the week's closed batch, schema-valid, each with its QA history.

    Grain: one adjudicated correction. Reads exactly the batch version that was closed; refuses while it is open.
    """
    stage = Stage.begin(context, house, "corrected_traces", "1")
    house.pack(stage.workflow)
    items = stage.read("correction_batch")
    store = EventStore(house.settings().qa_store(stage.workflow))
    batch = closed_batch(store, stage.weekly, stage.workflow)
    settings = {"batch_version": batch.version, "attempt": batch.attempt}
    if done := stage.unchanged(settings):
        return done
    rows = corrected_rows(store, batch, items)
    preview = [
        {key: row[key] for key in ("failure_cluster", "annotator", "reviewer", "adjudicator", "returns")}
        for row in rows
    ]
    facts = {
        "batch_version": batch.version,
        "qa_mode": batch.qa_mode,
        **{f"items_{k}": v for k, v in summary(store, batch).items()},
    }
    return stage.write(rows, settings, preview=preview, metadata=facts)


@dg.asset_check(asset="corrected_traces", blocking=True, partitions_def=week_by_workflow)
def corrections_are_schema_valid(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Every call in a step that may train matches its tool's schema."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("corrected_traces", workflow=workflow, week=week)
    calls = wrong = 0
    for row in rows.iter_rows(named=True):
        messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
        for index in json.loads(row["trainable_indices"]):
            for call in messages[index].get("tool_calls") or []:
                calls += 1
                wrong += bool(check_call(tools, call["function"]["name"], call["function"]["arguments"]))
    return passed(not wrong, f"{calls - wrong} of {calls} corrected calls are schema-valid")


@dg.asset_check(asset="corrected_traces", blocking=True, partitions_def=week_by_workflow)
def nobody_has_two_roles(context: dg.AssetCheckExecutionContext, house: House) -> dg.AssetCheckResult:
    """Annotator, reviewer, adjudicator and auditor of an item are different people."""
    workflow, week = partition_of(context.partition_key)
    rows = house.lake().read_partition("corrected_traces", workflow=workflow, week=week)
    roles = rows.select("annotator", "reviewer", "adjudicator", "auditor").rows()
    double = sum(len(named := [actor for actor in row if actor]) != len(set(named)) for row in roles)
    reviewed = rows.filter(pl.col("reviewer").is_not_null() | pl.col("adjudicator").is_not_null()).height
    return passed(
        not double and reviewed == rows.height, f"{double} of {rows.height} items have one person in two roles"
    )
