"""`flywheel prune`, `backup` and `restore`: the house kept in order and kept safe."""

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder, better on another disk.")],
    vault: Annotated[
        Path | None, typer.Option(help="Another folder for keys and originals, so that the backup cannot unseal them.")
    ] = None,
    inbox: Annotated[bool, typer.Option(help="Take production's raw logs along.")] = True,
) -> None:
    """Copy the house at one moment, while it works: tables, corrections, packs, adapters that count, Dagster's runs, pointer, vault."""
    from flywheel.operations.backup import back_up

    made = back_up(Settings(), folder, vault=vault, inbox=inbox)
    adapters = sum(len(names) for names in made.adapters.values())
    print(
        f"{folder}: {len(made.files):,} files, {made.size():,} bytes; {len(made.tables)} tables, {adapters} adapters; digest {made.digest[:12]}"
    )
    for sentence in made.elsewhere:
        print(f"  not in it: {sentence}")


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not list what stays.")] = False,
) -> None:
    """Take away what the packs' `retention` and the settings let go: old runs, versions, adapters, scratch. Says why each thing stays."""
    from flywheel.operations.launch import known_instance
    from flywheel.operations.prune import plan
    from flywheel.operations.prune import prune as take_away

    with known_instance() as on:
        things = plan(Settings(), on) if dry_run else take_away(Settings(), on)
    for thing in things:
        if thing.goes or not quiet:
            said = ("would go" if dry_run else "gone") if thing.goes else "stays"
            print(f"{said:<9}{thing.kind:<9}{thing.workflow or '-':<16}{thing.bytes:>14,} B  {thing.name}: {thing.why}")
    going = [thing for thing in things if thing.goes]
    print(f"{len(going)} of {len(things)} {'would go' if dry_run else 'are gone'}, {sum(thing.bytes for thing in going):,} bytes"
          + ("; rows taken out of tables free their bytes with the old versions" if any(thing.kind == "traces" for thing in going) else ""))  # fmt: skip


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A backup.")],
    vault: Annotated[Path | None, typer.Option(help="Where the vault was backed up to, when that was apart.")] = None,
    lost_vault: Annotated[bool, typer.Option("--lost-vault", help="The vault is gone: go on with new keys.")] = False,
) -> None:
    """Check a backup file by file and put it into FLYWHEEL_HOME, which must be empty. Stop the daemon and the workbench first."""
    from flywheel.operations.restore import restore as put_back

    settings = Settings()
    done = put_back(settings, folder, vault=vault, lost_vault=lost_vault)
    print(f"{settings.home}: {len(done.manifest.files):,} files as they were on {done.manifest.made_at}; {len(done.manifest.tables)} tables "
          f"with {done.partitions} partitions; pointers written: {', '.join(done.pointers) or 'none'}")  # fmt: skip
    for sentence in done.told:
        print(f"  now: {sentence}")
