"""What production serves and how far each week is; the first line is what a person needs at night."""

from typing import Any

from flywheel.corrections.released import summary
from flywheel.corrections.stores import open_store
from flywheel.lake import Lake
from flywheel.promotion.pointer import serving
from flywheel.report.facts import STAGES
from flywheel.settings import Settings
from flywheel.workflows.loader import known_workflows


def status(settings: Settings) -> list[dict[str, Any]]:
    """One entry a workflow: what serves since when, the newest week's stages, the batch, and the next command."""
    lake = Lake(settings.lake())
    present = [name for name in known_workflows(settings.workflows()) if (settings.workflows() / name).is_dir()]
    return [_workflow(settings, lake, name) for name in present]


def _workflow(settings: Settings, lake: Lake, workflow: str) -> dict[str, Any]:
    log = lake.read_weeks("promotion_log", workflow=workflow)
    moved = log.filter(log["served_adapter_id"] != log["previous_adapter_id"]).sort("week")
    lineage = lake.all_lineage(workflow=workflow)
    weeks = sorted(week for week in set(lineage["week"]) if week != "-")
    entry: dict[str, Any] = {
        "workflow": workflow,
        "serves": serving(log),
        "since_week": moved["week"][-1] if moved.height else None,
        "newest_week": weeks[-1] if weeks else None,
        "stages_done": [],
        "batch": None,
    }
    if not weeks:
        return {
            **entry,
            "next": f"lay traces into {settings.inbox(workflow)}, then: flywheel run --workflow {workflow} --week MONDAY",
        }
    week = weeks[-1]
    written = set(lineage.filter(lineage["week"] == week)["table_name"])
    entry["stages_done"] = [stage for stage in STAGES if stage in written]
    store = open_store(settings, workflow)
    batch = store.batch_of(week, workflow)
    if batch:
        entry["batch"] = {"version": batch.version, "closed": batch.closed, **summary(store, batch)}
    return {**entry, "next": _next(workflow, week, written, bool(batch and batch.closed))}


def _next(workflow: str, week: str, written: set[str], closed: bool) -> str:
    if "promotion" in written:
        return "nothing: the week is decided"
    if closed:
        return f"flywheel run --workflow {workflow} --week {week} --stage learn"
    if "correction_batch" in written:
        return "the experts: the correction batch is open"
    return f"flywheel run --workflow {workflow} --week {week} --stage collect"
