"""`flywheel value`: which clusters the next hours should go to, whether earlier forecasts came true, and how long a fix takes."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command("value")
def value_of_hours(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    week: Annotated[str | None, typer.Option(help="As it was known in this week (its Monday); by default the newest.")] = None,
) -> None:  # fmt: skip
    """Print what two hours on each failure cluster should remove a week, with intervals, beside what earlier forecasts came to."""
    from flywheel.lake import Lake
    from flywheel.partitions import checked_week
    from flywheel.report import value_section as said
    from flywheel.report.trends import trends

    if week is not None:
        checked_week(week)
    lake = Lake(Settings().lake())
    shown = said.next_hours(lake, workflow, trends(lake, workflow, week))
    if shown.value is None:
        raise FlywheelError("no failure was counted yet", where=f"{workflow}{f', up to week {week}' if week else ''}",
                            remedy=f"run a week: flywheel run --workflow {workflow} --week MONDAY --stage collect")  # fmt: skip
    print(f"as known in week {shown.value.week}. {said.learned_sentence(shown.value)}")
    print_table("the next two hours", said.WORTH_HEADER, [said.worth_row(one) for one in shown.value.worth])
    print_table(
        f"forecasts: {said.coverage_sentence(shown.value.held)}",
        said.HELD_HEADER,
        [said.held_row(one) for one in shown.value.held],
    )
    print_table("cycle time of failure clusters", said.CYCLE_HEADER, [said.cycle_row(one) for one in shown.stretches])


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table of a page in the terminal; nothing without rows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from flywheel.chat.visible import visible

    if not rows:
        return
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(visible(str(cell)) for cell in row))
    Console(highlight=False, markup=False).print(table)
