"""Week zero in the stages: what a stage of that week reads instead of corrections."""

from flywheel.defs.stage import Stage
from flywheel.lake.week_zero import demonstrations_behind


def demonstrations_of_week_zero(stage: Stage) -> int | None:
    """Demonstrations behind the dataset of week zero, recorded as an input; None, and nothing recorded, in every other week."""
    shown = demonstrations_behind(stage.lake, stage.workflow, stage.weekly)
    if shown is not None:
        stage.read_or_empty("demonstrations", by_workflow=True)
    return shown
