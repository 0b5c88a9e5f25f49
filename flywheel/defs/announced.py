"""After a decision: what others are told of it, and what production says; the facts for the page of `promotion`."""

from typing import Any

import dagster as dg
import polars as pl

from flywheel.defs.metadata import markdown_table
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage
from flywheel.lake import Lake
from flywheel.promotion import recurrence
from flywheel.promotion.announce import announce
from flywheel.promotion.live import canary_period, shown
from flywheel.promotion.model_card import model_card, write_card
from flywheel.promotion.pointer import serving, waits
from flywheel.workflows.pack import Pack


def announced(stage: Stage, house: House, pack: Pack) -> dict[str, Any]:
    """Say to others what serves: pointer file, hook, `served_model`; and write the candidate's card. The facts for the asset's page."""
    lake, workflow, week, base = stage.lake, stage.workflow, stage.weekly, house.base_model(pack)
    row = lake.read_partition("promotion", workflow=workflow, week=week).row(0, named=True)
    done = announce(lake, house.settings(), pack, base)
    log = lake.read_weeks("promotion_log", workflow=workflow)
    facts: dict[str, Any] = {
        "verdict": row["verdict"], "incumbent_adapter_id": row["incumbent_adapter_id"],
        "served_adapter_id": serving(log, until_week=week, first=pack.first_incumbent),
    }  # fmt: skip
    if waits(log, week, row):
        facts["waits_for"] = f"flywheel promote --workflow {workflow} --week {week} --by NAME"
    if done.hook:
        facts["hook"] = done.hook
        (stage.context.log.info if done.told else stage.context.log.error)(done.hook)
    stage.context.log_event(
        dg.AssetMaterialization("served_model", partition=stage.context.partition_key, metadata=facts)
    )
    write_card(house.settings(), lake, pack, base, row["candidate_adapter_id"])
    if card := model_card(lake, pack, base, row["candidate_adapter_id"]):
        facts["model_card"] = dg.MetadataValue.md(card)
    return {**facts, **_live(lake, workflow, week, log)}


def _live(lake: Lake, workflow: str, week: str, log: pl.DataFrame) -> dict[str, Any]:
    """What production said up to this week: the canary period of the incumbent, and which corrected failures came back."""
    until = log.filter(pl.col("week") < week)
    period, back = canary_period(lake, workflow, until, until=week), recurrence.newest(lake, workflow, until=week)
    facts: dict[str, Any] = {"recurrence": back.sentence()} if back else {}
    if period:
        facts["canary_period"] = markdown_table(shown(period))
        facts["canary_period_says"] = period.sentence(workflow)
    return facts
