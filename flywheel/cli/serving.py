"""`flywheel serve` and `bundle`: what the pointer names, served here, or packed for a server elsewhere."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.promotion.bundle import Bundle

Workflows = Annotated[
    list[str], typer.Argument(help="Name of the workflow pack; several that stand on one base share it.")
]


@app.command()
def serve(
    workflows: Workflows,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    uds: Annotated[Path | None, typer.Option(help="A unix socket instead of a port; for this user alone.")] = None,
    host: Annotated[str, typer.Option(help="Address of this machine to listen on: 127.0.0.1, ::1 or localhost.")] = "127.0.0.1",
) -> None:  # fmt: skip
    """Serve what the pointer names, with vLLM, until you stop it; of several workflows on one base, in one server."""
    from flywheel.operations.serve import serve_workflows
    from flywheel.serving.foreground import Address

    address = Address(host, port, uds.absolute() if uds else None)
    serve_workflows(Settings(), workflows, address, say=lambda line: print(line, flush=True))


@app.command()
def bundle(
    workflows: Workflows,
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    merged: Annotated[bool, typer.Option("--merged", help="One model instead of base and adapter, for engines without LoRA.")] = False,
    adapter: Annotated[str | None, typer.Option(help="Another adapter than the one that serves.")] = None,
) -> None:  # fmt: skip
    """Write a folder from which a plain vLLM serves what was promoted, and print its digest; one for several workflows on one base."""
    names = list(dict.fromkeys(workflows))
    if len(names) == 1:
        told, made = _bundle_of_one(names[0], out, merged=merged, adapter=adapter)
    elif merged or adapter:
        raise FlywheelError(
            "--merged and --adapter belong to one workflow: merged weights are one model, and an id stands for one adapter",
            remedy="name a single workflow, or leave them away",
        )
    else:
        told, made = _bundle_of_several(names, out)
    print(f"{told} in {made.folder}, {made.size / 1e6:,.1f} MB")
    print(f"  digest {made.sha256}; README.md there holds the command")


def _bundle_of_one(workflow: str, out: Path, *, merged: bool, adapter: str | None) -> "tuple[str, Bundle]":
    from flywheel.operations.releasing import releases
    from flywheel.promotion.bundle import Contents, make_bundle
    from flywheel.promotion.model_card import model_card
    from flywheel.promotion.pointer import BASE

    acts = releases(Settings(), workflow)
    chosen = adapter or acts.serves(acts.log())
    pack, base = acts.trained_on(chosen)
    if merged and chosen == BASE:
        raise FlywheelError(
            "the base model serves: there is nothing to merge", remedy="leave --merged away, or name an --adapter"
        )
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".flywheel-merge-", dir=out.absolute().parent) as folder:
        model = _merge(base.folder, acts.settings.checkpoints(workflow) / chosen, Path(folder)) if merged else None
        card = model_card(acts.lake, pack, base, chosen, with_log=False)
        made = make_bundle(acts.settings, pack, base, Contents(chosen, model, card), out)
    return f"{workflow}: {chosen}{' merged' if merged else ''}", made


def _bundle_of_several(workflows: list[str], out: Path) -> "tuple[str, Bundle]":
    from flywheel.operations.releasing import releases
    from flywheel.promotion.model_card import model_card
    from flywheel.promotion.shared_bundle import Member, make_shared_bundle

    members = []
    for name in workflows:
        acts = releases(Settings(), name)
        chosen = acts.serves(acts.log())
        pack, base = acts.trained_on(chosen)
        members.append(Member(pack, base, chosen, model_card(acts.lake, pack, base, chosen, with_log=False)))
    made = make_shared_bundle(Settings(), members, out)
    return ", ".join(f"{member.pack.name}: {member.adapter_id}" for member in members), made


def _merge(base: Path, adapter: Path, folder: Path) -> Path:
    """The merged model, made by a child: torch is not for the command line."""
    command = [sys.executable, "-m", "flywheel.training.merge", str(base), str(adapter), str(folder)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        last = [line for line in ended.stderr.splitlines() if line.strip()][-2:]
        raise FlywheelError(f"the adapter could not be merged: {' '.join(last)}", where=str(adapter),
                            remedy="mend that, or leave --merged away")  # fmt: skip
    return Path(ended.stdout.splitlines()[-1])
