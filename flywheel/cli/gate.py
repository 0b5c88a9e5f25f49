"""`flywheel evaluate --gate A B`: any two configurations through the gate, with exit codes for CI."""

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.operations.comparison import Outcome

INVALID = 3


class _Gate(TyperCommand):
    """A mistyped option ends with 3: click's own 2 would read as INCONCLUSIVE."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == 2:  # a usage error, of the click that typer brings along
                usage: Any = error
                usage.exit_code = INVALID
            raise


@app.command(cls=_Gate)
def evaluate(
    gate: Annotated[
        tuple[str, str],
        typer.Option("--gate", metavar="A B", help="Baseline and candidate: configuration files, or `pack` for the pack with what serves."),
    ],
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    out: Annotated[Path | None, typer.Option(help="Folder for results.parquet and verdict.json, for CI to keep.")] = None,
) -> None:  # fmt: skip
    """Compare two configurations (model, adapter, quantisation, prompt, tools, template, decoding, vLLM) on the frozen benchmark.

    Exits 0 for PROMOTE, 1 for REJECT, 2 for INCONCLUSIVE and for a PROMOTE on too few cases, which a person decides, 3 for INVALID;
    also 3 whenever there is no verdict, whatever the reason.
    """
    from flywheel.promotion.comparison import exit_code

    told = _told(workflow, gate, out)
    raise typer.Exit(INVALID if told is None else exit_code(told.decision))


def _told(workflow: str, gate: tuple[str, str], out: Path | None) -> "Outcome | None":
    """The verdict, printed; None where there is none, and why on stderr. Nothing that broke may read as REJECT."""
    from flywheel.operations.comparison import gate as run

    try:
        outcome = run(Settings(), workflow, *gate, out=out)
    except FlywheelError as error:
        print(f"INVALID, the two were not compared: {error}", file=sys.stderr)
        return None
    except Exception:
        traceback.print_exc()
        print("INVALID, the two were not compared: a defect of flywheel, see above", file=sys.stderr)
        return None
    _say(outcome)
    return outcome


def _say(outcome: "Outcome") -> None:
    row: dict[str, Any] = outcome.row
    print(f"{row['verdict']}: {row['candidate_name']} against {row['baseline_name']}, which differ in {', '.join(outcome.differ_in)}")  # fmt: skip
    for reason in outcome.decision.reasons:
        print(f"  - {reason}")
    print(f"kept as comparison {row['comparison_id']}")
    if outcome.unwritten:
        print(f"warning: {outcome.unwritten}", file=sys.stderr)
    if row["verdict"] == "PROMOTE":
        print(
            "nothing was changed: make the pack (or the server) what was compared; its configuration counts as evaluated from now on"
        )
