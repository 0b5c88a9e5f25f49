"""Stage 9: `weekly_report`, one self-contained HTML page a week, also when `learn` did not run."""

import hashlib
import json

import dagster as dg

from flywheel.defs.metadata import COLLECTED, asset_options, markdown_table, picture
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage
from flywheel.partitions import week_by_workflow
from flywheel.report.curve_figures import curve_picture
from flywheel.report.facts import week_facts
from flywheel.report.page import render
from flywheel.report.weeks import render_weeks


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_failures", "correction_batch", "promotion"], code_version="1",
    freshness_policy=COLLECTED, **asset_options("weekly_report", "report"),
)  # fmt: skip
@says_why
def weekly_report(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The week on one page, with plots, for people who do not open Dagster; says why when `learn` did not run.

    Grain: one page. The pages lie under FLYWHEEL_HOME/reports; index.html beside them holds all weeks of the workflow.
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
    metadata = {
        "page": dg.MetadataValue.path(str(file.absolute())),
        "all_weeks": dg.MetadataValue.path(str(file.with_name("index.html").absolute())),
        "note": note,
        "verdict_in_words": facts.verdict.headline,
        "serves": facts.verdict.serves,
        "look_at_next": markdown_table(
            [{"what": ask.sentence(), "one case": ask.example_case_id} for ask in facts.verdict.asks]
        ),
    }
    if curve := curve_picture(facts.curves):
        metadata["learning_curve"] = picture(curve)
    if done := stage.unchanged(settings):
        return done
    result = stage.write([row], settings, metadata=metadata)
    file.with_name("index.html").write_text(render_weeks(stage.lake, stage.workflow), encoding="utf-8")
    return result
