"""`flywheel plan` and `merge`: what training will cost, and an adapter made one with its base model."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings


@app.command()
def plan(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow pack.")],
    week: Annotated[str, typer.Option(help="Monday the week starts on, as in 2026-01-05.")],
    gpu: Annotated[str | None, typer.Option(help="L4, A100 or H100; without it all of them and this CPU.")] = None,
    peak_tflops: Annotated[float | None, typer.Option(help="Another device's bfloat16 peak.")] = None,
    memory_gib: Annotated[float | None, typer.Option(help="And its memory.")] = None,
    base: Annotated[str | None, typer.Option(help="Another base model: its name, folder or config.json.")] = None,
) -> None:
    """Tokens, packs, operations, memory and hours of a week's training, before anything is spent."""
    from flywheel.operations.training_plan import devices, plan_week, told
    from flywheel.partitions import checked_week

    checked_week(week)
    settings = Settings()
    print("\n".join(told(plan_week(settings, workflow, week, base), devices(settings, gpu, peak_tflops, memory_gib))))


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="Id of an adapter, as `flywheel status` shows it.")],
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    output: Annotated[Path | None, typer.Option(help="Folder to write below; default: beside the adapters.")] = None,
) -> None:
    """Make one model of an adapter and its base, summed in float32, for engines without LoRA."""
    from flywheel.workflows.base_model import find_base_model
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack = find_pack(settings.workflows(), workflow)
    base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    folder = settings.checkpoints(workflow)
    command = [sys.executable, "-m", "flywheel.training.merge", base.folder, folder / adapter, output or folder]
    raise typer.Exit(subprocess.run(list(map(str, command)), check=False).returncode)
