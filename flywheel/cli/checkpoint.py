"""`flywheel checkpoint`: train a week's adapter on a machine elsewhere, and bring it back."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

checkpoint = typer.Typer(
    no_args_is_help=True, help="Train a week's adapter on a machine elsewhere, and bring it back (docs/elsewhere.md)."
)
app.add_typer(checkpoint, name="checkpoint")
By = Annotated[str, typer.Option(help="Who does it, for the log of acts; the account of this machine by default.")]


@checkpoint.command("export-job")
def export_job(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow pack.")],
    week: Annotated[str, typer.Argument(help="Monday the week starts on, as in 2026-01-05.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; new or empty.")],
    with_base_model: Annotated[bool, typer.Option("--with-base-model", help="Copy the base model into it too.")] = False,
    by: By = "",
) -> None:  # fmt: skip
    """Write a week's training as a folder that any machine with Python and a GPU can run."""
    from flywheel.operations.training_job import export_job as write
    from flywheel.partitions import checked_week

    checked_week(week)
    made = write(Settings(), workflow, week, folder, with_base=with_base_model, by=by)
    rows = ", ".join(f"{count} in {name}" for name, count in made.job.rows.items())
    print(f"{workflow}, week of {week}: job {made.sha256[:16]} in {made.folder}")
    print(f"  rows: {rows}; base model {made.job.base_model_name}; README.md there holds the command")
    print(
        f"  it holds conversations as token ids: delete it when the adapter is back (flywheel checkpoint import {folder})"
    )


@checkpoint.command("import")
def import_job(
    folder: Annotated[Path, typer.Argument(help="The job's folder, with what was trained in out/.")],
    replace: Annotated[bool, typer.Option("--replace", help="Trade in another adapter that the week has already.")] = False,
    by: By = "",
) -> None:  # fmt: skip
    """Check what came back and make it the week's checkpoint; doing it twice changes nothing."""
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen
    from flywheel.operations.training_job import import_job as take

    settings = Settings()
    with instance() as on:
        landed = take(settings, folder, on, replace=replace, screen=Screen(settings.home / "run.log"), by=by)
    job, machine = landed.job, landed.returned.machine
    print(
        f"{job.workflow}, week of {job.week}: {landed.adapter_id} is the checkpoint, trained on {machine.get('device', 'unknown')}"
    )
    print(f"  in PEFT it changes the canary's log-probabilities by {landed.effect():.3f} nats a token")
    print(f"next: flywheel run --workflow {job.workflow} --week {job.week} --stage learn")
