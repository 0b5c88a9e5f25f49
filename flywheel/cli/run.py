"""`flywheel run`, `ingest` and `report`: the week of a workflow of one's own."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.jobs import JOBS, job_of
from flywheel.settings import Settings

Week = Annotated[str, typer.Option(help="Monday the week starts on, as in 2026-01-05.")]
Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@app.command()
def run(
    week: Week,
    workflow: Workflow = "support_desk",
    stage: Annotated[str | None, typer.Option(help="One asset, or one job: freeze, collect, learn.")] = None,
) -> None:
    """Run a week: freeze and collect, then learn if its correction batch is closed; or only one stage of it."""
    from flywheel.operations.launch import instance, run_job
    from flywheel.operations.screen import Screen
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    find_pack(settings.workflows(), workflow)
    screen = Screen(settings.home / "run.log")
    with instance() as on:
        if stage is None:
            run_job("freeze", workflow=workflow, week=None, on=on, screen=screen)
            run_job("collect", workflow=workflow, week=week, on=on, screen=screen)
            _take_late_traces(settings, week, workflow, on, screen)
            if _closed(settings, week, workflow):
                run_job("learn", workflow=workflow, week=week, on=on, screen=screen)
            else:
                screen.say("the correction batch is with the experts; learn runs when it is closed")
        elif stage in JOBS:
            run_job(stage, workflow=workflow, week=None if stage == "freeze" else week, on=on, screen=screen)
        else:
            job = job_of(stage)
            run_job(
                job, workflow=workflow, week=None if job == "freeze" else week, on=on, screen=screen, stages=[stage]
            )


def _take_late_traces(settings: Settings, week: str, workflow: str, on: Any, screen: Any) -> None:
    """Runs of earlier weeks that this week's files brought: their weeks are read again, their failures may enter this batch."""
    from flywheel.lake import Lake
    from flywheel.operations.late import late_weeks
    from flywheel.operations.launch import run_job

    late = late_weeks(Lake(settings.lake()), workflow, week, settings.first_week)
    for earlier in late:
        screen.say(f"late traces of week {earlier}: reading that week again")
        run_job(
            "collect",
            workflow=workflow,
            week=earlier,
            on=on,
            screen=screen,
            stages=["production_traces", "production_failures"],
        )
    if late:
        run_job("collect", workflow=workflow, week=week, on=on, screen=screen, stages=["correction_batch"])


def _closed(settings: Settings, week: str, workflow: str) -> bool:
    from flywheel.corrections.stores import open_store

    batch = open_store(settings, workflow).batch_of(week, workflow)
    return batch is not None and batch.closed


@app.command()
def ingest(
    files: Annotated[
        list[Path], typer.Argument(help="Log files that production wrote, in any format an adapter knows.")
    ],
    workflow: Workflow = "support_desk",
) -> None:
    """Lay files into the workflow's inbox, whole; `flywheel run` reads them."""
    from flywheel.traces.records import SUFFIXES

    settings = Settings()
    inbox = settings.inbox(workflow)
    inbox.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not file.is_file():
            raise FlywheelError("there is no such file", where=str(file), remedy="name files that exist")
        if not file.name.endswith(SUFFIXES):
            raise FlywheelError(
                f"the inbox takes {', '.join(SUFFIXES)}",
                where=str(file),
                remedy="name the file after what it holds, e.g. .jsonl",
            )
        partial = inbox / f"{file.name}.partial"
        shutil.copyfile(file, partial)
        partial.replace(inbox / file.name)
        print(f"{file.name}: {file.stat().st_size:,} bytes in the inbox of {workflow}")


@app.command()
def report(week: Week, workflow: Workflow = "support_desk") -> None:
    """Print a week's table and verdict, and where its page lies."""
    from rich.console import Console

    from flywheel.lake import Lake
    from flywheel.operations.summary import stage_table, verdict_lines
    from flywheel.partitions import checked_week
    from flywheel.report.facts import week_facts

    settings = Settings()
    checked_week(week)
    facts = week_facts(Lake(settings.lake()), workflow, week)
    console = Console(highlight=False)
    console.print(stage_table(facts))
    console.print(verdict_lines(facts))
    page = settings.report(workflow, week)
    print(
        f"page: {page}"
        if page.is_file()
        else f"no page yet: flywheel run --workflow {workflow} --week {week} --stage weekly_report"
    )
