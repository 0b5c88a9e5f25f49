"""`flywheel receipts`: what became of a person's or a partner's corrections, week by week."""

from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings


@app.command("receipts")
def show_receipts(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    person: Annotated[str | None, typer.Option(help="Name as it stands in the event log.")] = None,
    partner: Annotated[str | None, typer.Option(help="Short name of a partner: everybody of theirs together.")] = None,
    week: Annotated[str | None, typer.Option(help="Only the batch of this week (its Monday).")] = None,
) -> None:
    """Print what their corrections came to: clusters, the adapter that learned them, before and after, and what came back.

    It may be sent to the partner as it is: of frozen cases it holds numbers alone, and of runs only steps they answered themselves.
    """
    from flywheel.chat.visible import visible
    from flywheel.corrections.receipts import Who, receipts
    from flywheel.lake import Lake
    from flywheel.partitions import checked_week

    if (person is None) == (partner is None):
        raise FlywheelError("whose receipts?", where="flywheel receipts", remedy="give --person NAME or --partner NAME")
    if week is not None:
        checked_week(week)
    who = Who(str(person or partner), partner is not None)
    found = receipts(Lake(Settings().lake()), workflow, who, week=week)
    if not found:
        raise FlywheelError(f"no accepted correction of {who.name}{f' in week {week}' if week else ''}", where=workflow,
                            remedy="names stand in the event log: flywheel report --week MONDAY lists them; learn must have read the batch")  # fmt: skip
    for receipt in found:
        print(f"week {receipt.week}: {receipt.headline()}")
        for one in receipt.clusters:
            print(f"  {visible(one.cluster)}")
            for line in one.lines():
                print(f"      {visible(line)}")
