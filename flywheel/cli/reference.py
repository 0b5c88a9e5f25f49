"""`flywheel reference ...`: other models on the same frozen cases, run here, asked elsewhere, or imported."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.operations.reference import Ran

reference = typer.Typer(help="Other models on the frozen benchmark, beside the candidate.", no_args_is_help=True)
app.add_typer(reference, name="reference")

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]
Name = Annotated[str | None, typer.Option(help="What it is called in the report; the file's name by default.")]


@reference.command()
def run(
    configuration: Annotated[str, typer.Argument(help="Configuration file: examples, constrained, endpoint; see docs/evaluation.md.")],
    workflow: Workflow = "support_desk",
    name: Name = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would leave this machine, and send nothing.")] = False,
) -> None:  # fmt: skip
    """Run a reference on the frozen benchmark: a server started here, or an OpenAI-compatible endpoint.

    A host elsewhere must stand in the pack under `egress` with purpose frontier; FLYWHEEL_FRONTIER_KEY is its bearer token.
    """
    from flywheel.operations.reference import run_reference, would_leave

    settings = Settings()
    if dry_run:
        host, leaves, found = would_leave(settings, workflow, configuration)
        sent = [one for one in found if not one.held_back]
        for one in found:
            fate = f"NOT sent, holds {', '.join(one.held_back)}" if one.held_back else f"{one.size:,} bytes"
            print(f"case {one.case_id}, sha256 {one.sha256[:16]}: {fate}")
        print(f"\n{len(sent)} of {len(found)} first requests, {sum(one.size for one in sent):,} bytes, would go to {host} "
              f"({'leaves' if leaves else 'stays on'} this machine); nothing was sent. Later steps of an episode add its answers")  # fmt: skip
        return
    _say(run_reference(settings, workflow, configuration, name=name), workflow)


@reference.command()
def export(
    to: Annotated[Path, typer.Argument(help="JSONL file to write.")],
    workflow: Workflow = "support_desk",
    configuration: Annotated[
        str, typer.Option(help="Configuration whose prompt, tools and examples are asked.")
    ] = "pack",
) -> None:
    """Write what is to be asked, for a machine that may ask it; its answers come back by `import`."""
    from flywheel.operations.reference import export_requests

    print(f"{to}: {export_requests(Settings(), workflow, to, configuration)} cases of the benchmark; whoever trains on them spoils it")  # fmt: skip


@reference.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="What it is called in the report.")],
    answers: Annotated[Path, typer.Argument(help='JSONL: {"case_id", "messages", "epoch"} a line.')],
    workflow: Workflow = "support_desk",
) -> None:
    """Score answers that another machine got to the frozen cases."""
    from flywheel.operations.reference import import_reference

    _say(import_reference(Settings(), workflow, name, answers), workflow)


@reference.command()
def show(
    week: Annotated[str, typer.Option(help="Monday the week starts on, as in 2026-01-05.")],
    workflow: Workflow = "support_desk",
) -> None:
    """The week's candidate beside every reference: solved, valid, right if valid, and what each difference is made of."""
    from flywheel.operations.reference import beside
    from flywheel.partitions import checked_week
    from flywheel.report.references import comparison_lines

    checked_week(week)
    for line in comparison_lines(beside(Settings(), workflow, week)):
        print(line)


def _say(ran: "Ran", workflow: str) -> None:
    print(f"{ran.name}: {ran.solved} of {ran.scored} runs solved" + (f", {ran.runs - ran.scored} without a score" if ran.scored < ran.runs else ""))  # fmt: skip
    print(f"beside a week's candidate: flywheel reference show --workflow {workflow} --week MONDAY")
