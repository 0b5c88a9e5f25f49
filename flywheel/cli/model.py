"""`flywheel model`: the base models an installation has, fetched, made or brought in a folder."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

model = typer.Typer(
    no_args_is_help=True, help="Base models: add one from a folder or by its known name, list what is there."
)
app.add_typer(model, name="model")


@model.command()
def add(
    what: Annotated[
        str, typer.Argument(help="A folder with a model's files; or a known name, e.g. smollm2-135m-instruct.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What packs call it as base_model; default: the folder's name.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Its model family, where it cannot be told.")] = None,
    licence: Annotated[str | None, typer.Option(help="Its licence, where the folder has no file of it.")] = None,
) -> None:
    """Check a model (files, licence, family, template round trip) and copy it into the cache; nothing is asked of a hub."""
    from flywheel.workflows.base_model import KNOWN

    if what in KNOWN and not Path(what).is_dir():
        _make(what)
        return
    if "/" not in what and not Path(what).is_dir():
        raise FlywheelError(f"there is neither a folder nor a known model {what!r}", where="flywheel model add",
                            remedy=f"name a folder with its files, or use one of: {', '.join(KNOWN)}")  # fmt: skip
    from flywheel.operations.model_add import add_model

    added = add_model(Settings(), Path(what), name=name, family=family, licence=licence)
    print("\n".join(f"ok   {line}" for line in added.said))
    print(
        f"in the cache: {added.base.folder}\nin workflow.yaml:\n  base_model: {added.base.name}\n  model_family: {added.family.name}"
    )
    print(f"its family at full size was run: {added.family.full_size_runs}")


def _make(name: str) -> None:
    """Fetch or make a known model; does nothing when it is there."""
    from flywheel.workflows.base_model import find_base_model

    settings = Settings()
    try:
        print(f"in the cache: {find_base_model(settings.models(), name).folder}")
    except FlywheelError:
        corpus = str(Path(__file__).parent.parent / "demo" / "support_desk")
        command = [sys.executable, "-m", "flywheel.training.base_model", name, str(settings.models()), corpus]
        raise typer.Exit(subprocess.run(command, check=False).returncode) from None


@model.command("list")
def list_models() -> None:
    """The models in the cache: family, licence, size, where from, and which workflows name them."""
    from flywheel.operations.model_add import listed
    from flywheel.workflows.loader import known_workflows, load_pack

    settings = Settings()
    present = [name for name in known_workflows(settings.workflows()) if (settings.workflows() / name).is_dir()]
    packs = {name: load_pack(settings.workflows() / name).settings.base_model for name in present}
    rows = listed(settings, packs)
    for row in rows:
        used = f"; used by {', '.join(row['workflows'])}" if row["workflows"] else ""
        print(
            f"{row['name']}  {row['sha256'][:12]}  {row['bytes'] / 1e6:,.0f} MB  family {row['family'] or 'not recorded'}, licence {row['licence'] or 'not recorded'}{used}\n    from {row['source']}"
        )
    if not rows:
        print("no model in the cache: flywheel model add FOLDER, or a known name")
