"""`flywheel cost`: hours, tokens, bytes and money of a workflow's weeks, and what its budget leaves."""

import json
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings


@app.command()
def cost(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What each week took: experts, accelerator, tokens, storage; per correction and per fixed failure; and the budget of the newest."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from flywheel.lake import Lake
    from flywheel.operations.budget import spent_hours
    from flywheel.operations.launch import known_instance
    from flywheel.report.conditions import weeks_of
    from flywheel.report.costs import cost_lines, week_costs
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    weeks = weeks_of(lake, workflow)
    costs = week_costs(lake, workflow, weeks, pack.settings.rates.get("accelerator_hour"))
    lines = cost_lines(costs, lake.read_weeks("failure_clusters", workflow=workflow))
    if as_json:
        print(
            json.dumps(
                {"weeks": [one._asdict() for one in costs], "figures": [line._asdict() for line in lines]}, indent=2
            )
        )
        return
    if not costs:
        print(f"no week of {workflow} has cost anything yet")
        return
    table = Table(title=f"{workflow}, by week", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("week", "expert h", "train h", "eval h", "tokens trained", "MB", "experts", "machine"):
        table.add_column(name, no_wrap=name == "week", overflow="fold", justify="left" if name == "week" else "right")
    for one in costs:
        table.add_row(one.week, _number(one.expert_hours), _number(one.training_hours), _number(one.evaluation_hours), _number(one.trained_tokens, 0),
                      f"{one.stored_bytes / 1e6:,.1f}", _number(one.experts), _number(one.accelerator))  # fmt: skip
    figures = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("figure", f"week {costs[-1].week}", "all weeks so far", "counted over"):
        figures.add_column(name)
    for line in lines:
        figures.add_row(*line)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(figures)
    budget = pack.settings.budget
    with known_instance() as on:
        spent = spent_hours(lake, on, workflow, costs[-1].week)
    limit = (
        f"of {budget.accelerator_hours:,.2f} of the budget"
        if budget.accelerator_hours
        else "and the pack sets no budget.accelerator_hours"
    )
    print(f"week {costs[-1].week}: {spent:,.2f} accelerator hours, attempts that failed included, {limit}"
          + (f"; budget.money is {budget.money:,.2f}" if budget.money else ""))  # fmt: skip
    if not pack.settings.rates:
        print(
            "no money is known: state rates in workflow.yaml (annotator_hour, accelerator_hour …), see docs/operations.md"
        )


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
