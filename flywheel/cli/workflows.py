"""`flywheel init` and `flywheel model`: a workflow of one's own, and the base model it runs on."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command()
def init(name: Annotated[str, typer.Argument(help="Lower-case identifier of the new workflow.")]) -> None:
    """Make a workflow pack to start from: a copy of support_desk with its own name, and an empty inbox."""
    import flywheel.demo as package
    from flywheel.demo.week import lay_out_pack
    from flywheel.workflows.loader import checked_name

    settings = Settings()
    target = settings.workflows() / checked_name(name)
    if not lay_out_pack(Path(package.__file__).parent / "support_desk", target):
        raise FlywheelError(
            f"workflow {name} is there already", where=str(target), remedy="edit it, or choose another name"
        )
    settings.inbox(name).mkdir(parents=True, exist_ok=True)
    print(f"made {target}\n  1. edit workflow.yaml, tools.json, system.md, guidelines.md and benchmark/*.jsonl")
    print(
        f"  2. let production write its runs into {settings.inbox(name)} (or: flywheel ingest FILE --workflow {name})"
    )
    print(f"  3. flywheel run --workflow {name} --week MONDAY")


@app.command()
def model(name: Annotated[str, typer.Argument(help="Base model, e.g. smollm2-135m-instruct.")]) -> None:
    """Fetch or make a base model in the cache; does nothing when it is there."""
    import subprocess
    import sys

    from flywheel.workflows.base_model import KNOWN, find_base_model

    settings = Settings()
    if name not in KNOWN:
        find_base_model(settings.models(), name)
    try:
        print(f"in the cache: {find_base_model(settings.models(), name).folder}")
    except FlywheelError:
        corpus = str(Path(__file__).parent.parent / "demo" / "support_desk")
        command = [sys.executable, "-m", "flywheel.training.base_model", name, str(settings.models()), corpus]
        raise typer.Exit(subprocess.run(command, check=False).returncode) from None
