"""`flywheel init`: a workflow of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Lower-case identifier of the new workflow.")],
    logs: Annotated[
        Path | None, typer.Option("--from", help="A log file, or a folder of them, to draft the pack from.")
    ] = None,
    tools: Annotated[Path | None, typer.Option(help="The agent's tools: a JSON list of OpenAI functions.")] = None,
    system: Annotated[Path | None, typer.Option(help="The system prompt, as production sends it.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="With --from: about how many runs to look at.")] = 1_000,
    workflow: Annotated[str | None, typer.Option(help="With --from: which of several workflows in the log.")] = None,
) -> None:
    """Make a workflow pack: drafted from your agent's logs, or from your tools, or else as a copy of support_desk."""
    import flywheel.demo as package
    from flywheel.demo.week import lay_out_pack
    from flywheel.workflows.loader import checked_name
    from flywheel.workflows.starter import make_pack

    settings = Settings()
    target = settings.workflows() / checked_name(name)
    if logs is not None:
        _init_from(settings, target, logs, (tools, system), runs, workflow)
        return
    writing: list[str] = []
    if tools is not None:
        made = make_pack(target, tools_file=tools, system_file=system)
        writing = [tool["function"]["name"] for tool in made if tool["x-access"] == "write"]
    elif not lay_out_pack(Path(package.__file__).parent / "support_desk", target):
        raise FlywheelError(
            f"workflow {name} is there already", where=str(target), remedy="edit it, or choose another name"
        )
    settings.inbox(name).mkdir(parents=True, exist_ok=True)
    _say_house()
    print(f"made {target}\n  1. edit workflow.yaml, tools.json, system.md, guidelines.md and benchmark/*.jsonl")
    if tools is not None:
        print(f"     tools taken to write (x-access, by their names; check them): {', '.join(writing) or 'none'}")
    print(
        f"  2. let production write its logs into {settings.inbox(name)} (or: flywheel ingest FILE --workflow {name})"
    )
    print(f"  3. flywheel run --workflow {name} --week MONDAY")


def _say_house() -> None:
    from flywheel.operations.launch import lay_out_instance

    if made := lay_out_instance():
        print(f"made {' and '.join(made)} here: run flywheel in this folder from now on")


def _init_from(
    settings: Settings,
    target: Path,
    logs: Path,
    known: tuple[Path | None, Path | None],
    runs: int,
    workflow: str | None,
) -> None:
    from flywheel.operations.inbox import lay_into_inbox
    from flywheel.operations.pack_draft.draft import draft_pack
    from flywheel.operations.pack_draft.told import told
    from flywheel.traces.sample import log_files, sample
    from flywheel.workflows.starter import read_text, read_tools, refuse_existing

    refuse_existing(target)
    tools, system = known
    given = read_tools(tools) if tools else None
    looked = sample(logs, runs)
    draft = draft_pack(target, looked, tools=given, system=read_text(system) if system else None, workflow=workflow)
    files = {file.name: Path(file.path) for file in log_files(logs)[1]}
    _say_house()
    laid = sum(size for _, size in lay_into_inbox(settings, target.name, files))
    print(f"made {target}; {len(files)} files, {laid:,} bytes laid into {settings.inbox(target.name)}")
    print("\n".join(told(settings, target.name, looked, draft)))
