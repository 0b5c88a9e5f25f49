"""Week zero of a workflow, as `flywheel bootstrap` began it: the week whose dataset is built from demonstrations alone."""

from flywheel.lake.store import Lake


def begun(lake: Lake, workflow: str) -> str | None:
    """The Monday of week zero; None before it was begun."""
    weeks = lake.read_columns("week_zero", ("week_zero",), workflow=workflow)["week_zero"]
    return str(weeks[0]) if weeks.len() else None


def is_week_zero(lake: Lake, workflow: str, week: str) -> bool:
    """Whether a week is the workflow's week zero, and no correction batch was made for it."""
    return begun(lake, workflow) == week and not lake.has_partition("correction_batch", workflow=workflow, week=week)


def demonstrations_behind(lake: Lake, workflow: str, week: str) -> int | None:
    """Demonstrations behind the dataset of week zero; None in every other week."""
    if not is_week_zero(lake, workflow, week):
        return None
    return lake.read_columns("demonstrations", ("demonstration_id",), workflow=workflow).height
