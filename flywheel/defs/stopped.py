"""Where a week's learn stopped because this machine has no trainer or no server: no failure, and no decision either."""

from typing import NamedTuple

import polars as pl

from flywheel.chat.families import find_family
from flywheel.lake import Lake
from flywheel.training.inputs import waits_for_training
from flywheel.training.learn_when import pending, why_banked
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack


class Stop(NamedTuple):
    """The stage that could not be run here, and the sentence that says so with what to do."""

    stage: str
    says: str


def stopped_at(lake: Lake, pack: Pack, base: BaseModel, week: str, trained: pl.DataFrame) -> Stop | None:
    """Where learn stopped, or None; asked only where nothing was evaluated. A banked week trained nothing on purpose and is none.

    Args:
        base: today's base model.
        trained: the week's `checkpoint` rows.
    """
    if trained.height:
        return Stop("eval_results", waits_for_server(pack.name, week)) if pack.settings.serving == "elsewhere" else None
    if pack.settings.trainer == "here":
        return None
    rows, template = (
        lake.lineage("sft_dataset", workflow=pack.name, week=week),
        find_family(pack.settings.model_family).template_sha256,
    )
    new = pending(lake, pack.name, week, base_sha256=base.sha256, template_sha256=template)
    if why_banked(new, rows.rows if rows else 0, pack.settings.learn_when):
        return None
    return Stop("checkpoint", waits_for_training(pack.name, week))


def waits_for_server(workflow: str, week: str) -> str:
    """What is said of a week whose adapter waits for a server, with what to do."""
    return (
        "learn stopped before the evaluation: no server here (serving: elsewhere), so the adapter is not judged; next: let this machine serve "
        f"(serving: here) or name a server that runs already (serving: attach), then flywheel run --workflow {workflow} --week {week} --stage learn"
    )
