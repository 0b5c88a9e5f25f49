"""`flywheel run` and `ingest`: the week of a workflow of one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flywheel.cli import app
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
                _say_where_it_stopped(settings, week, workflow, screen)
            else:
                screen.say("the correction batch is with the experts; learn runs when it is closed")
        elif stage in JOBS:
            run_job(stage, workflow=workflow, week=None if stage == "freeze" else week, on=on, screen=screen)
            if stage == "learn":
                _say_where_it_stopped(settings, week, workflow, screen)
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


def _say_where_it_stopped(settings: Settings, week: str, workflow: str, screen: Any) -> None:
    """The run's last line where this machine has no trainer or no server: the week is green and undecided."""
    from flywheel.lake import Lake
    from flywheel.operations.screen import foreign
    from flywheel.operations.status import where_it_stopped

    if said := where_it_stopped(Lake(settings.lake()), workflow, week):
        screen.say(foreign(said))


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
    from flywheel.operations.inbox import lay_into_inbox

    for name, size in lay_into_inbox(Settings(), workflow, {file.name: file for file in files}):
        print(f"{name}: {size:,} bytes in the inbox of {workflow}")
