"""Where a week's learn stopped because this machine has no trainer or no server: no failure, and no decision either."""

from typing import NamedTuple

import polars as pl

from flywheel.lake import Lake
from flywheel.lake.week_zero import demonstrations_behind
from flywheel.training.inputs import waits_for_training
from flywheel.training.stage import nothing_to_learn
from flywheel.workflows.pack import Pack


class Stop(NamedTuple):
    """The stage that could not be run here, and the sentence that says so with what to do."""

    stage: str
    says: str


def stopped_at(lake: Lake, pack: Pack, week: str, trained: pl.DataFrame) -> Stop | None:
    """Where learn stopped, or None; asked only where nothing was evaluated. A banked week trained nothing on purpose and is none.

    Args:
        trained: the week's `checkpoint` rows.
    """
    if trained.height:
        return Stop("eval_results", waits_for_server(pack.name, week)) if pack.settings.serving == "elsewhere" else None
    rows = [lake.lineage(table, workflow=pack.name, week=week) for table in ("corrected_traces", "sft_dataset")]
    accepted, examples = (one.rows if one else 0 for one in rows)
    shown = demonstrations_behind(lake, pack.name, week)
    banked = nothing_to_learn(accepted, examples, pack.settings.learn_when.min_accepted, shown)
    if pack.settings.trainer == "here" or banked:
        return None
    return Stop("checkpoint", waits_for_training(pack.name, week))


def waits_for_server(workflow: str, week: str) -> str:
    """What is said of a week whose adapter waits for a server, with what to do."""
    return (
        "learn stopped before the evaluation: no server here (serving: elsewhere), so the adapter is not judged; next: let this machine serve "
        f"(serving: here) or name a server that runs already (serving: attach), then flywheel run --workflow {workflow} --week {week} --stage learn"
    )
