"""`flywheel trace ID` and `flywheel why CHECKPOINT`: where a row comes from and what became of it, from the lake alone."""

from typing import Annotated, Any

import typer

from flywheel.cli import app
from flywheel.settings import Settings

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@app.command("trace")
def trace_lineage(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A row, pair, correction, item, failure, demonstration or run.")
    ],
    workflow: Workflow = "support_desk",
) -> None:
    """Follow one id back to the inbox file and byte it came from, and forth to the verdict on what it trained."""
    from flywheel.lake import Lake
    from flywheel.operations.lineage import trace_id_lineage
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    found = trace_id_lineage(Lake(settings.lake()), settings, find_pack(settings.workflows(), workflow), identifier)
    print(f"{identifier} comes from")
    for link in found.back:
        _show(link)
    print("and went into")
    for link in found.forth:
        _show(link)


@app.command()
def why(
    checkpoint: Annotated[str, typer.Argument(help="Adapter id, or the beginning of it.")],
    workflow: Workflow = "support_desk",
) -> None:
    """Say what a checkpoint trained on, how it was judged, and which failures it fixed or brought back."""
    from flywheel.lake import Lake
    from flywheel.operations.why import why as explain

    for link in explain(Lake(Settings().lake()), workflow, checkpoint):
        _show(link)


def _show(link: Any) -> None:
    from flywheel.chat.visible import visible

    facts = ", ".join(f"{name} {value}" for name, value in link.facts.items() if value not in (None, ""))
    print(f"  {link.kind:<26}{visible(link.name)}\n  {'':<26}{visible(facts)}"[:600])
