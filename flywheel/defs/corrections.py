"""Stages 3 and 4: `correction_batch` goes out to people, `corrected_traces` comes back from them."""

import json
from collections import Counter
from typing import Any

import dagster as dg
import polars as pl

from flywheel.corrections.closing import own_states, rolled_over
from flywheel.corrections.conflicts import conflicts_handed_out, conflicts_of, decision_rows
from flywheel.corrections.effort import effort_rows, effort_table, item_rows, totals, work_of
from flywheel.corrections.events import EventStore, batch_id
from flywheel.corrections.probes import material_of, plant
from flywheel.corrections.released import closed_batch, corrected_rows, summary, withdrawn
from flywheel.corrections.stores import open_store
from flywheel.corrections.verdict import Figure, require
from flywheel.defs.metadata import asset_options, markdown_table
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage, partition_of, passed
from flywheel.errors import FlywheelError
from flywheel.failures.asked import asked
from flywheel.failures.selection import numbered, select
from flywheel.lake.content import content_sha256
from flywheel.lake.week_zero import is_week_zero
from flywheel.partitions import last_week_same_workflow, week_before, week_by_workflow
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Quality


@dg.asset(
    partitions_def=week_by_workflow,
    deps=["production_failures", "production_traces", dg.AssetDep("next_asks", partition_mapping=last_week_same_workflow)],
    code_version="3",
    **asset_options("correction_batch", "corrections"),
)  # fmt: skip
@says_why
def correction_batch(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """What is handed to the experts this week, in order, each item with why it was picked.

    Grain: one item. A batch that people already work on is frozen: later failures enter the next one. What the last verdict
    asked for counts double.
    """
    stage = Stage.begin(context, house, "correction_batch", "3")
    pack, store = house.pack(stage.workflow), open_store(house.settings(), stage.workflow)
    before = week_before(stage.weekly)
    earlier = stage.lake.read_weeks("correction_batch", workflow=stage.workflow, until=before)
    carried = _carried_over(stage, store, earlier)
    failures, traces = _candidates(stage, carried)
    conflicts, waiting = conflicts_of(
        stage.lake, stage.workflow, before=stage.weekly, most=pack.settings.batch.max_conflicts, qa_mode=pack.settings.qa_mode,
        handed_out=conflicts_handed_out(store, stage.workflow, before_week=stage.weekly, quality=pack.settings.quality),
    )  # fmt: skip
    settings = {
        **pack.settings.batch.model_dump(),
        "quality": pack.settings.quality.model_dump(),
        "carried_over": sorted(carried),
        "conflicts": [conflict.row["item_id"] for conflict in conflicts],
    }
    asks = asked(stage.lake, stage.workflow, before)
    if asks:
        settings["next_asks"] = [[ask.bucket, ask.tool, sorted(ask.tools), ask.wanted] for ask in asks]
    batch = store.batch_of(stage.weekly, stage.workflow)
    if batch and batch.frozen and _holds(stage, batch.name):
        return _as_handed_out(stage, batch.name)
    if (done := stage.unchanged(settings)) and batch and _holds(stage, batch.name):
        return done
    near = stage.lake.read_weeks("near_duplicates", workflow=stage.workflow, until=stage.weekly)
    toolsets = stage.lake.read_weeks("toolsets", workflow=stage.workflow)
    known = stage.lake.read_weeks("failure_clusters", workflow=stage.workflow, until=before)
    picked = select(
        failures, traces, groups=dict(near.select("trace_id", "near_duplicate_group").rows()),
        toolsets=dict(toolsets.select("tools_sha256", "tools").rows()),
        earlier=earlier.filter(~pl.col("trace_id").is_in(sorted(carried))), known_clusters=set(known["failure_cluster"]),
        settings=pack.settings.batch, week=stage.weekly, carried_over=carried, asks=asks,
    )  # fmt: skip
    items, version = numbered([*picked.items, *(conflict.row for conflict in conflicts)])
    columns = ("position", "failure_cluster", "severity", "picked_because", "priority")
    preview = [{name: item[name] for name in columns} for item in items]
    name = store.open_batch(
        week=stage.weekly, workflow=stage.workflow, version=version, item_ids=[item["item_id"] for item in items],
        qa_mode=pack.settings.qa_mode, conflicts={conflict.row["item_id"]: conflict.payload for conflict in conflicts},
    )  # fmt: skip
    if name != batch_id(stage.weekly, stage.workflow, version):  # somebody began on the one before while this ran
        return _as_handed_out(stage, name)
    facts = {
        "items": len(items),
        "conflicts_for_adjudication": len(conflicts),
        "conflicts_waiting": waiting,
        "failures": failures.height,
        "asked_for": sum("; asked for" in item["picked_because"] for item in picked.items),
        "carried_over": sum(item["trace_id"] in carried for item in picked.items),
        **{f"passed_over_{k}": v for k, v in picked.passed_over.items()},
        **_plant(stage, store, name, items[: len(picked.items)], pack.settings.quality, earlier),
    }
    return stage.write(items, settings, preview=preview, metadata=facts)


def _holds(stage: Stage, batch: str) -> bool:
    """Whether the week's table holds the rows of this very version."""
    rows = stage.lake.read_columns(
        "correction_batch", ("week", "batch_version"), workflow=stage.workflow, where=pl.col("week") == stage.weekly
    )
    versions = set(rows["batch_version"]) or {numbered([])[1]}
    written = stage.lake.has_partition("correction_batch", workflow=stage.workflow, week=stage.week)
    return written and {batch_id(stage.weekly, stage.workflow, version) for version in versions} == {batch}


def _as_handed_out(stage: Stage, batch: str) -> dg.MaterializeResult:
    """The table as it lies, untouched; raises FlywheelError where none does: what people work on cannot be picked again."""
    lost, log = "people work on a version of the batch that is not in the table", stage.context.log
    remedy = "restore the version of the table that was handed out"
    if not (written := stage.facts()):
        raise FlywheelError(lost, where=f"batch {batch}", remedy=remedy)
    if not _holds(stage, batch):
        log.warning(f"{lost} (batch {batch}): {remedy}")
    log.info("people already work on this batch: it stays as handed out; what is new enters the next one")
    frozen = stage.lake.read_partition("correction_batch", workflow=stage.workflow, week=stage.week)
    return dg.MaterializeResult(metadata={**written, "frozen": True, "items": frozen.height})


def _carried_over(stage: Stage, store: EventStore, earlier: pl.DataFrame) -> set[str]:
    """Trace ids of items that earlier batches closed over; they may be picked again, and come first."""
    open_items = rolled_over(store, stage.workflow, before_week=stage.weekly)
    return set(earlier.filter(pl.col("item_id").is_in(sorted(open_items)))["trace_id"])


def _plant(
    stage: Stage, store: EventStore, batch: str, items: list[dict[str, Any]], quality: Quality, earlier: pl.DataFrame
) -> dict[str, int]:
    """Plant what measures the people's work; how many in all, not which: the UI is open to them too."""
    before = week_before(stage.weekly)
    corrected = stage.lake.read_weeks("corrected_traces", workflow=stage.workflow, until=before)
    settled = stage.lake.read_weeks("conflict_decisions", workflow=stage.workflow, until=before)
    corrected = corrected.join(settled.select("item_id"), on="item_id", how="anti")  # they show no first wrong step
    last = store.batch_of(before, stage.workflow)
    planted = plant(
        store, batch, items, material_of(corrected, earlier), quality, last_batch=last.name if last else None
    )
    return {"planted_for_quality": sum(planted.values())}


def _candidates(stage: Stage, carried: set[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Failures and traces that may be handed out: the week's, those of earlier weeks that this week's reading brought or that
    earlier batches could not finish.
    """
    failures, traces = stage.read("production_failures"), stage.read("production_traces")
    before = week_before(stage.weekly)
    old = stage.lake.read_weeks("production_traces", workflow=stage.workflow, until=before)
    late = old.filter((pl.col("first_read_week") == stage.weekly) | pl.col("trace_id").is_in(sorted(carried)))
    if not late.height:
        return failures, traces
    stage.contents["late"] = content_sha256(late.select("trace_id", "content_sha256"))
    found = stage.lake.read_weeks("production_failures", workflow=stage.workflow, until=before)
    found = found.filter(pl.col("trace_id").is_in(late["trace_id"].implode()))
    stage.context.log.info(
        f"{late.height} late or carried-over runs of earlier weeks, {found.height} of them failed, may enter this batch"
    )
    return pl.concat([failures, found]), pl.concat([traces, late])


@dg.asset(
    partitions_def=week_by_workflow, deps=["correction_batch"], code_version="2",
    **asset_options("corrected_traces", "corrections"),
)  # fmt: skip
@says_why
def corrected_traces(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """Corrections the QA accepted in the week's closed batch, schema-valid, each with its QA history.

    Grain: one adjudicated correction. Reads exactly the batch version that was closed; refuses while it is open,
    and when the batch does not pass its gate (lot, gold, agreement), saying why. Week zero has no batch: no rows.
    """
    stage = Stage.begin(context, house, "corrected_traces", "2")
    pack = house.pack(stage.workflow)
    if is_week_zero(stage.lake, stage.workflow, stage.weekly):
        nothing = {"week_zero": True}
        return stage.unchanged(nothing) or stage.write([], nothing, metadata={"note": "week zero: demonstrations only"})
    items = stage.read("correction_batch")
    store = open_store(house.settings(), stage.workflow)
    batch = closed_batch(store, stage.weekly, stage.workflow)
    rates = pack.settings.rates
    settings = {"batch_version": batch.version, "attempt": batch.attempt, "rates": rates,
                "quality": pack.settings.quality.model_dump(), "withdrawn": withdrawn(store, batch)}  # fmt: skip
    if done := stage.unchanged(settings):
        return done
    verdict = require(store, batch, pack.settings.quality)
    rows = corrected_rows(store, batch, items)
    work = work_of(store.history(batch.name), item_rows(items, store.planted(batch.name)))
    effort = effort_rows(work, rates)
    figures = [
        *verdict.figures,
        *(Figure(name, value, None, None, n, note) for name, value, n, note in totals(work, len(rows), rates)),
    ]
    if "accelerator_hour" in rates:
        figures.append(
            Figure("accelerator_hour", rates["accelerator_hour"], None, None, 1, "the pack's rate, for the cost ratio")
        )
    preview = [
        {key: row[key] for key in ("failure_cluster", "annotator", "reviewer", "adjudicator", "returns")}
        for row in rows
    ]
    decided = decision_rows(own_states(store, batch), rows)
    facts = {
        "batch_version": batch.version,
        "qa_mode": batch.qa_mode,
        "closed_because": batch.closed_because,
        **{f"items_{k}": v for k, v in summary(store, batch).items()},
        **{f"conflicts_{k}": v for k, v in sorted(Counter(row["decision"] for row in decided).items())},
        "quality": markdown_table([_figure(figure) for figure in figures]),
        "effort": markdown_table(effort_table(effort)),
    }
    also = {"correction_quality": [_quality_row(figure) for figure in figures], "correction_effort": effort,
            "conflict_decisions": decided}  # fmt: skip
    return stage.write(rows, settings, preview=preview, metadata=facts, also=also)


def _quality_row(figure: Figure) -> dict[str, Any]:
    row = figure._asdict()
    return {"figure": row.pop("name"), **row}


def _figure(figure: Figure) -> dict[str, Any]:
    value = "unknown" if figure.value is None else f"{figure.value:.2f}"
    interval = "" if figure.low is None else f"{figure.low:.2f} to {figure.high:.2f}"
    return {"measure": figure.name, "value": value, "95 %": interval, "n": figure.n, "note": figure.note}


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
