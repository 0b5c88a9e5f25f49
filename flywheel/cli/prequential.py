"""`flywheel prequential`: each week's adapter on the next week's corrected steps, also over weeks that are long over."""

from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.lake import Lake


@app.command()
def prequential(
    workflow: Annotated[str, typer.Option(help="Name of the workflow pack.")] = "support_desk",
    week: Annotated[list[str] | None, typer.Option(help="Only the steps of this week (its Monday); repeatable.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Look also at weeks that are scored; what is unchanged is still not asked again.")] = False,
) -> None:  # fmt: skip
    """Score every finished week that is not scored yet, oldest first, and print what each adapter did on the week after its own.

    Stopped, it goes on where it was; a second time it asks nothing. Weeks are scored by themselves in every run of `learn`.
    """
    from flywheel.cli.value import print_table
    from flywheel.lake import Lake
    from flywheel.report import prequential_section as said
    from flywheel.report.prequential import prequential as scores
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    find_pack(settings.workflows(), workflow)
    lake = Lake(settings.lake())
    corrected = lake.all_lineage(workflow=workflow, tables=["corrected_traces"])["week"].sort().to_list()
    unknown = sorted(set(week or ()) - set(corrected))
    if unknown or not corrected:
        raise FlywheelError(f"week {unknown[0]} has no corrections" if unknown else "no week has corrections yet", where=workflow,
                            remedy=f"run the week first: flywheel run --workflow {workflow} --week MONDAY")  # fmt: skip
    _score(settings, lake, workflow, [one for one in corrected if not week or one in week], again)
    found = scores(lake, workflow)
    if not found:
        print("no adapter has a next week with corrected steps yet")
        return
    print(said.pooled_sentence(found))
    print_table("each adapter on the week after its own", said.HEADER, said.rows_of(found))
    print_table("checkpoint minus incumbent, in points (95 % interval)", said.GAIN_HEADER, said.gain_rows(found))
    print(said.NOTE)
    print(f"as a picture, beside the frozen benchmark: flywheel report --weeks --workflow {workflow}")


def _score(settings: Settings, lake: "Lake", workflow: str, weeks: list[str], again: bool) -> None:
    """Run the stage for each week that needs it."""
    from flywheel.operations.launch import instance, run_job
    from flywheel.operations.screen import Screen

    done = set(lake.all_lineage(workflow=workflow, tables=["prequential_results"])["week"])
    todo = [week for week in weeks if again or week not in done]
    if len(todo) < len(weeks):
        print(f"{len(weeks) - len(todo)} of {len(weeks)} weeks are scored already")
    if not todo:
        return
    screen = Screen(settings.home / "run.log")
    with instance() as on:
        for number, week in enumerate(todo, 1):
            screen.say(f"{number} of {len(todo)}: steps of week {week}")
            run_job("learn", workflow=workflow, week=week, on=on, screen=screen, stages=["prequential_results"])
