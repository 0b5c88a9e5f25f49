"""`flywheel run` and `ingest`: the week of a workflow of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli import app
from flywheel.jobs import JOBS, job_of
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.operations.several import Several

Week = Annotated[str, typer.Option(help="Monday the week starts on, as in 2026-01-05.")]
Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@app.command()
def run(
    week: Week,
    workflow: Annotated[
        list[str] | None,
        typer.Option(help="Name of the workflow pack, default support_desk; again for another: those on one base are evaluated on one server."),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="One asset, or one job: freeze, collect, learn.")] = None,
) -> None:  # fmt: skip
    """Run a week of one workflow or several: freeze and collect, then learn if its correction batch is closed; or only one stage of it."""
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen
    from flywheel.operations.several import Several
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    packs = {name: find_pack(settings.workflows(), name) for name in workflow or ["support_desk"]}
    screen = Screen(settings.home / "run.log")
    with instance() as on:
        several = Several(settings, packs, week, on, screen)
        _run_all(settings, several, week, stage, on, screen)
        several.finish()


def _run_all(settings: Settings, several: "Several", week: str, stage: str | None, on: Any, screen: Any) -> None:
    from flywheel.operations.launch import run_job
    from flywheel.operations.several import ASKING, refuse_apart

    names = several.going()
    job = "learn" if stage is None else stage if stage in JOBS else job_of(stage)
    if stage in (None, "learn", *ASKING):
        refuse_apart(settings, several.packs)

    def collected(name: str) -> None:
        run_job("freeze", workflow=name, week=None, on=on, screen=screen)
        run_job("collect", workflow=name, week=week, on=on, screen=screen)
        _take_late_traces(settings, week, name, on, screen)
        if not _closed(settings, week, name):
            screen.say("the correction batch is with the experts; learn runs when it is closed")

    def one_stage(name: str) -> None:
        only = [stage] if stage and stage not in JOBS else None
        run_job(job, workflow=name, week=None if job == "freeze" else week, on=on, screen=screen, stages=only)

    if stage is None:
        several.each(collected, names)
        names = [name for name in several.going() if _closed(settings, week, name)]
    if stage in (None, "learn"):
        several.learn(names)
        for name in several.going():
            if name in names:
                _say_where_it_stopped(settings, week, name, screen)
    elif stage in ASKING:
        several.ask(stage, names)
    else:
        several.each(one_stage, names)


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
