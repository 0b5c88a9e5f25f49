"""`flywheel report` and `flywheel diff`: a week or all weeks in the terminal and as pages, and the cases behind a verdict."""

from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]
# What fits 80 columns; the page has the rest.
_IN_THE_TERMINAL = (
    "week",
    "verdict",
    "serves after it",
    "core success (95 % interval)",
    "n",
    "expert hours",
    "recurrence",
)
OneWeek = Annotated[str | None, typer.Option(help="Monday the week starts on, as in 2026-01-05.")]


@app.command()
def report(
    week: OneWeek = None,
    workflow: Workflow = "support_desk",
    weeks: Annotated[bool, typer.Option("--weeks", help="All weeks of the workflow, and their page.")] = False,
) -> None:
    """Print a week's table and verdict, and where its page lies; or all weeks with --weeks."""
    if weeks == (week is not None):
        raise FlywheelError(
            "one of the two is wanted", where="flywheel report", remedy="give --week MONDAY, or --weeks"
        )
    settings = Settings()
    if week is None:
        _all_weeks(settings, workflow)
    else:
        _one_week(settings, workflow, week)


def _one_week(settings: Settings, workflow: str, week: str) -> None:
    from rich.console import Console

    from flywheel.cli.terminal import drawing
    from flywheel.lake import Lake
    from flywheel.operations.summary import stage_table, verdict_lines
    from flywheel.partitions import checked_week
    from flywheel.report.facts import week_facts

    checked_week(week)
    facts = week_facts(Lake(settings.lake()), workflow, week)
    console = Console(highlight=False, file=drawing())
    console.print(stage_table(facts))
    console.print(verdict_lines(facts))
    page = settings.report(workflow, week)
    print(
        f"page: {page}"
        if page.is_file()
        else f"no page yet: flywheel run --workflow {workflow} --week {week} --stage weekly_report"
    )


def _all_weeks(settings: Settings, workflow: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from flywheel.lake import Lake
    from flywheel.report.weeks import HEADER, render_weeks, week_lines

    lake = Lake(settings.lake())
    table = Table(title=f"{workflow}, all weeks", box=SIMPLE_HEAD, pad_edge=False)
    shown = [HEADER.index(name) for name in _IN_THE_TERMINAL]
    for place in shown:
        table.add_column(HEADER[place], no_wrap=place < 2, overflow="fold")
    for line in week_lines(lake, workflow):
        table.add_row(*(line.cells[place] for place in shown))
    Console(highlight=False, markup=False).print(table)
    page = settings.report(workflow, "index")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_weeks(lake, workflow), encoding="utf-8")
    print(f"page: {page}")


@app.command("diff")
def diff_cases(
    week: Annotated[str, typer.Option(help="Monday the week starts on, as in 2026-01-05.")],
    workflow: Workflow = "support_desk",
    case: Annotated[str | None, typer.Option(help="One case, whatever became of it.")] = None,
) -> None:
    """Show the cases that incumbent and candidate decided differently: expected, what each wrote, where they differ."""
    from flywheel.lake import Lake
    from flywheel.partitions import checked_week
    from flywheel.report.diffs import week_diffs

    checked_week(week)
    found = week_diffs(Lake(Settings().lake()), workflow, week)
    if case is not None:
        shown = [one for one in found if one.case_id == case]
        if not shown:
            known = ", ".join(one.case_id for one in found[:5])
            raise FlywheelError(f"no case {case!r} ran under both arms in week {week}", where=f"{workflow}; e.g. {known}",
                                remedy=f"see the cases that changed: flywheel diff --workflow {workflow} --week {week}")  # fmt: skip
    else:
        shown = [one for one in found if one.outcome in ("regressed", "fixed")]
        regressed = sum(one.outcome == "regressed" for one in shown)
        print(f"of {len(found)} cases under both arms, {regressed} regressed and {len(shown) - regressed} fixed")
    for one in shown:
        _show(one)


def _show(one: Any) -> None:
    from flywheel.chat.visible import visible
    from flywheel.report.diffs import change_line

    print(f"\n{one.outcome}: {visible(one.case_id)} ({one.category})")
    rows = [
        ("asked", [one.asked]), ("expected", one.expected), ("incumbent", one.incumbent), ("candidate", one.candidate),
        ("difference", [change_line(change) for change in one.changes]), ("why", [one.reason]),
    ]  # fmt: skip
    for name, texts in rows:
        for place, text in enumerate(text for text in texts if text):
            print(f"  {name if place == 0 else '':<12}{visible(text)}")
