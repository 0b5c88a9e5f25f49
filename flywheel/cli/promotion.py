"""`flywheel promote` and `rollback`: what serves, as a person's act."""

from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.operations.releasing import Settled

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]
By = Annotated[str, typer.Option(help="Your name; it stands in the promotion log.")]


@app.command()
def promote(
    workflow: Workflow = "support_desk",
    week: Annotated[str | None, typer.Option(help="Week whose PROMOTE is released; its Monday, as in 2026-01-05.")] = None,
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why; needed with --override.")] = "",
    override: Annotated[bool, typer.Option("--override", help="Whatever was decided: any adapter, or base.")] = False,
    adapter: Annotated[str | None, typer.Option(help="With --override: which; else the one that --week trained.")] = None,
) -> None:  # fmt: skip
    """Release the adapter that a week's decision promotes; with --override any other that is whole."""
    from flywheel.operations.releasing import again, releases, settle
    from flywheel.partitions import checked_week

    if week is not None:
        checked_week(week)
    if adapter and not override:
        raise FlywheelError(
            "--adapter goes with --override", remedy="say --week to release what a week's decision promotes"
        )
    if week is None and not adapter:
        raise FlywheelError("nothing says what to promote", remedy="say --week WEEK, or --override --adapter ADAPTER")
    acts = releases(Settings(), workflow)
    if override:
        chosen = adapter or acts.adapter_of_week(str(week))
        told = again(acts, "override", by=by, reason=reason)
        release = (
            told if told and told.entry["served_adapter_id"] == chosen else acts.override(chosen, by=by, reason=reason)
        )
    else:
        release = acts.approve(str(week), by=by, reason=reason)
    _tell(settle(acts, release))


@app.command()
def rollback(
    workflow: Workflow = "support_desk",
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why; it stands in the promotion log.")] = "",
    override: Annotated[bool, typer.Option("--override", help="Also an adapter that was trained on other tools.")] = False,
) -> None:  # fmt: skip
    """Let serve again what served before the newest release; a second time what served before that."""
    from flywheel.operations.releasing import again, releases, settle

    acts = releases(Settings(), workflow)
    release = again(acts, "rollback", by=by, reason=reason) or acts.roll_back(by=by, reason=reason, override=override)
    _tell(settle(acts, release))


def _tell(settled: "Settled") -> None:
    entry, pointer = settled.release.entry, settled.pointer
    if settled.release.moved:
        print(
            f"{pointer.workflow}: serves {pointer.adapter_id} from {pointer.since} on; before: {entry['previous_adapter_id']}"
        )
        print(f"  {entry['kind']} by {entry['by']}" + (f": {entry['reason']}" if entry["reason"] else ""))
    else:
        print(f"{pointer.workflow}: serves {pointer.adapter_id} already, since {pointer.since}")
    print(
        f"  pointer: {Settings().pointer(pointer.workflow)}; a running server goes on with what it has: start it again"
    )
    if settled.hook:
        print(f"  {settled.hook}")
    for problem in settled.undone:
        print(f"  not done: {problem}")
    raise typer.Exit(1 if settled.undone else 0)
