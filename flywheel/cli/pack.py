"""`flywheel pack`: what a pack says by a guess alone, and a person's answer to it."""

import getpass
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

pack = typer.Typer(no_args_is_help=True, help="What was guessed in a workflow pack, and a person's answers.")
app.add_typer(pack, name="pack")

Name = Annotated[str, typer.Argument(help="Name of the workflow pack.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of guesses, as `flywheel pack check` lists them.")]
By = Annotated[str | None, typer.Option(help="Who answers; default: this account.")]


@pack.command()
def check(name: Name) -> None:
    """Load a pack, and list the guesses in it that no person has confirmed; exit code 1 while there are any."""
    from flywheel.workflows.guesses import open_guesses
    from flywheel.workflows.loader import find_pack

    found = find_pack(Settings().workflows(), name)
    waiting = open_guesses(found.folder)
    for guess in waiting:
        stands = "in force" if guess.in_force else "proposed"
        shown = "" if guess.id.endswith((".parameters", "system.md")) else f" = {guess.value}"
        print(f"{stands}  {guess.id}{shown}\n          {guess.because}")
    print(f"{name}: {len(found.tools)} tools, {len(waiting)} unconfirmed guesses")
    if waiting:
        print(
            f"wrong: correct it in {found.folder} (or: flywheel pack decline {name} ID); right: flywheel pack confirm {name} ID, or --all"
        )
    raise typer.Exit(1 if waiting else 0)


@pack.command()
def confirm(
    name: Name, ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="All that stands in the pack; proposals are named one by one.")] = False,
    by: By = None,
) -> None:  # fmt: skip
    """Confirm guesses: what is in force stays and counts as a person's; a proposal is written into its file."""
    from flywheel.workflows.guesses import open_guesses

    folder = _folder(name)
    chosen = [guess.id for guess in open_guesses(folder) if guess.in_force] if everything else []
    _answer(name, [*chosen, *(ids or [])], by, confirmed=True)


@pack.command()
def decline(name: Name, ids: Ids = None, by: By = None) -> None:
    """Decline proposals; what stands in the pack already is corrected in its file instead."""
    _answer(name, ids or [], by, confirmed=False)


def _folder(name: str):  # noqa: ANN202
    from flywheel.workflows.loader import find_pack

    return find_pack(Settings().workflows(), name).folder


def _answer(name: str, ids: list[str], by: str | None, *, confirmed: bool) -> None:
    from flywheel.errors import FlywheelError
    from flywheel.workflows.guesses import answer, open_guesses
    from flywheel.workflows.loader import load_pack

    folder = _folder(name)
    if not ids:
        raise FlywheelError("no guess is named", where=str(folder), remedy=f"flywheel pack check {name} lists them")
    done = answer(folder, ids, by=by or getpass.getuser(), confirm=confirmed)
    load_pack(folder)
    print(f"{len(done)} {'confirmed' if confirmed else 'declined'}, {len(open_guesses(folder))} wait")
