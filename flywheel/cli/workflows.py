"""`flywheel init` and `flywheel model`: a workflow of one's own, and the base model it runs on."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Lower-case identifier of the new workflow.")],
    tools: Annotated[Path | None, typer.Option(help="The agent's tools: a JSON list of OpenAI functions.")] = None,
    system: Annotated[Path | None, typer.Option(help="The system prompt, as production sends it.")] = None,
) -> None:
    """Make a workflow pack to start from, and an empty inbox: from your tools, or else as a copy of support_desk."""
    import flywheel.demo as package
    from flywheel.demo.week import lay_out_pack
    from flywheel.workflows.loader import checked_name, load_pack
    from flywheel.workflows.starter import make_pack

    settings = Settings()
    target = settings.workflows() / checked_name(name)
    writing: list[str] = []
    if tools is not None:
        made = make_pack(target, tools_file=tools, system_file=system)
        writing = [tool["function"]["name"] for tool in made if tool["x-access"] == "write"]
        load_pack(target)  # says at once what is wrong with a schema
    elif not lay_out_pack(Path(package.__file__).parent / "support_desk", target):
        raise FlywheelError(
            f"workflow {name} is there already", where=str(target), remedy="edit it, or choose another name"
        )
    settings.inbox(name).mkdir(parents=True, exist_ok=True)
    print(f"made {target}\n  1. edit workflow.yaml, tools.json, system.md, guidelines.md and benchmark/*.jsonl")
    if tools is not None:
        print(f"     tools taken to write (x-access, by their names; check them): {', '.join(writing) or 'none'}")
    print(
        f"  2. let production write its logs into {settings.inbox(name)} (or: flywheel ingest FILE --workflow {name})"
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
