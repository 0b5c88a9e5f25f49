"""Stage 9: `weekly_report`, one self-contained HTML page a week, also when `learn` did not run."""

import hashlib
import json

import dagster as dg

from flywheel.defs.metadata import asset_options
from flywheel.defs.resources import House
from flywheel.defs.stage import Stage
from flywheel.partitions import week_by_workflow
from flywheel.report.facts import week_facts
from flywheel.report.page import render


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_failures", "correction_batch", "promotion"], code_version="1",
    **asset_options("weekly_report", "report"),
)  # fmt: skip
def weekly_report(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The week on one page, with plots, for people who do not open Dagster; says why when `learn` did not run.

    Grain: one page. The page lies under FLYWHEEL_HOME/reports.
    """
    stage = Stage.begin(context, house, "weekly_report", "1")
    facts = week_facts(stage.lake, stage.workflow, stage.weekly)
    page = render(facts)
    settings = {"page": hashlib.sha256(page.encode()).hexdigest()}
    file = house.settings().report(stage.workflow, stage.weekly)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8")
    decision = facts.decision
    note = (
        "; ".join([decision["verdict"], *json.loads(decision["reasons"])])
        if decision
        else "learn did not run: the batch is open"
    )
    row = {
        "week_of": stage.weekly,
        "path": str(file.relative_to(house.settings().home)),
        "html_sha256": settings["page"],
        "learn_ran": decision is not None,
        "note": note,
    }
    metadata = {"page": dg.MetadataValue.path(str(file.absolute())), "note": note}
    return stage.unchanged(settings) or stage.write([row], settings, metadata=metadata)
