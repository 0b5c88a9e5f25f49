"""Stage 9: `weekly_report`, one self-contained HTML page a week, also when `learn` did not run."""

import hashlib
import json
from functools import cache
from pathlib import Path

import dagster as dg

import flywheel.report
from flywheel.defs.metadata import COLLECTED, asset_options, markdown_table, picture
from flywheel.defs.resources import House
from flywheel.defs.retries import says_why
from flywheel.defs.stage import Stage
from flywheel.partitions import week_by_workflow
from flywheel.report.curve_figures import curve_picture
from flywheel.report.facts import week_facts
from flywheel.report.page import render
from flywheel.report.weeks import render_weeks


def sha256_of_text(text: str) -> str:
    """Hash of a page."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Hash of what draws the page: another version of it draws every page again when its week is materialized."""
    files = sorted(Path(flywheel.report.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


@dg.asset(
    partitions_def=week_by_workflow, deps=["production_failures", "correction_batch", "promotion"], code_version=code_version(),
    freshness_policy=COLLECTED, **asset_options("weekly_report", "report"),
)  # fmt: skip
@says_why
def weekly_report(context: dg.AssetExecutionContext, house: House) -> dg.MaterializeResult:
    """The week on one page, with plots, for people who do not open Dagster; says why when `learn` did not run.

    Grain: one page. The pages lie under FLYWHEEL_HOME/reports; index.html beside them holds all weeks of the workflow.
    """
    stage = Stage.begin(context, house, "weekly_report", code_version())
    stage.note_everything()
    file = house.settings().report(stage.workflow, stage.weekly)
    # Drawing the page takes seconds; where the lake is what it was, the page in its place is the one that would be drawn.
    if _is_whole(stage, file) and (done := stage.unchanged({})):
        return done
    facts = week_facts(stage.lake, stage.workflow, stage.weekly)
    page = render(facts)
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
        "html_sha256": sha256_of_text(page),
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
    result = stage.write([row], {}, metadata=metadata)
    file.with_name("index.html").write_text(render_weeks(stage.lake, stage.workflow), encoding="utf-8")
    return result


def _is_whole(stage: Stage, file: Path) -> bool:
    """Whether the page lies where it was written, as it was written, and the page of all weeks beside it."""
    if not (file.is_file() and file.with_name("index.html").is_file()):
        return False
    if not stage.lake.has_partition(stage.table, workflow=stage.workflow, week=stage.week):
        return False
    written = stage.lake.read_partition(stage.table, workflow=stage.workflow, week=stage.week)["html_sha256"].to_list()
    return written == [sha256_of_text(file.read_text(encoding="utf-8"))]
