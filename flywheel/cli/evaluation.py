"""`flywheel evaluation ...`: people check the program's scores, blind, and what they think otherwise is listed."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.evaluation.review_store import WeekReview

evaluation = typer.Typer(help="People check the scores of the evaluation.", no_args_is_help=True)
app.add_typer(evaluation, name="evaluation")

Week = Annotated[str, typer.Option(help="Monday the week starts on.")]
Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@evaluation.command()
def sample(
    week: Week,
    workflow: Workflow = "support_desk",
    people: Annotated[int, typer.Option(min=2, max=9, help="How many people judge; each gets a sheet.")] = 2,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="One sheet of the outputs on which the people so far are unsure or split.")
    ] = False,
    to: Annotated[Path | None, typer.Option(help="Folder for the sheets; default reviews/ under FLYWHEEL_HOME.")] = None,
) -> None:  # fmt: skip
    """Draw the week's blind sample and write a sheet for each person: a page to judge in, and its lines as JSONL."""
    import polars as pl

    from flywheel.benchmark.cases import Case
    from flywheel.evaluation.human_review import opinions, sheets_of
    from flywheel.evaluation.review_sheet import sheet_lines, sheet_page
    from flywheel.evaluation.review_store import read_review
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    review = read_review(lake, pack, week)
    sheets = sheets_of(review.sample, people)
    if undecided:
        said = opinions(lake.read_weeks("evaluation_ratings", workflow=workflow))
        split = said.filter(pl.col("human_success").is_null())["output_id"]
        sheets = [review.sample.filter(pl.col("output_id").is_in(split.implode()))]
    if not any(sheet.height for sheet in sheets):
        print("nothing to judge: " + ("nobody is unsure or split" if undecided else "no output was scored this week"))
        return
    frozen = lake.read_partition("benchmark", workflow=workflow)
    cases = {case.id: case for case in map(Case.model_validate_json, frozen["case"])}
    folder = to or settings.reviews(workflow, week)
    folder.mkdir(parents=True, exist_ok=True)
    for number, sheet in enumerate(sheets, 1):
        name = f"{workflow}-{week}-" + ("undecided" if undecided else f"sheet-{number}")
        lines = "".join(json.dumps(line) + "\n" for line in sheet_lines(sheet, pack, week))
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        (folder / f"{name}.html").write_text(sheet_page(sheet, cases, pack, week, name=name), encoding="utf-8")
        print(
            f"{folder / name}.html: {sheet.height} outputs to judge, {int(sheet['double'].sum())} of them by two people"
        )
    print("each person opens one page and saves it; then: flywheel evaluation import FILE --by NAME")


@evaluation.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What the page saved: JSONL, a line an output.")],
    by: Annotated[str, typer.Option(help="Name of the person who judged.")],
) -> None:
    """Take a filled sheet in; ratings are append-only, and importing twice changes nothing."""
    from flywheel.evaluation.review_sheet import checked_rater, read_sheet
    from flywheel.evaluation.review_store import import_ratings, waits
    from flywheel.lake import Lake
    from flywheel.partitions import checked_week
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    rater, ratings = checked_rater(by), read_sheet(file)
    workflow, week = ratings[0].workflow, ratings[0].week
    checked_week(week)
    pack = find_pack(settings.workflows(), workflow)
    done = import_ratings(Lake(settings.lake()), pack, week, ratings, by=rater, now=datetime.now(UTC))
    print(f"{done.added} ratings of {rater} added" + (f", {done.known} known before" if done.known else ""))
    _say(done.review)
    waiting = waits(done.review, pack, week)
    if waiting:
        print(waiting[0])
    elif pack.settings.evaluation.human_review == "required":
        print(f"the review is complete: flywheel run --workflow {workflow} --week {week} --stage promotion")


@evaluation.command()
def agreement(week: Week, workflow: Workflow = "support_desk") -> None:
    """How far the week's review is, and how far people agree with the program and with each other."""
    from flywheel.evaluation.review_store import read_review
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack = find_pack(settings.workflows(), workflow)
    _say(read_review(Lake(settings.lake()), pack, week))


def _say(review: "WeekReview") -> None:
    from flywheel.evaluation.human_review import figures_of

    print(review.state.sentence())
    for row in figures_of(review.state)[1:]:
        value = "unknown" if row["value"] is None else f"{row['value']:.2f}"
        bounds = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        print(f"  {row['figure']:<22}{value}{bounds}, n = {row['n']}: {row['note']}")
    if review.disagreements.height:
        print(f"  {review.disagreements.height} disagreements: flywheel evaluation disagreements")


@evaluation.command()
def disagreements(
    workflow: Workflow = "support_desk",
    week: Annotated[
        str | None, typer.Option(help="Only this week; else all weeks, without the cases retired since.")
    ] = None,
) -> None:
    """List the outputs on which people and the program check disagree: the grader is suspected, no score is changed."""
    import polars as pl

    from flywheel.chat.visible import visible
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    find_pack(settings.workflows(), workflow)
    lake = Lake(settings.lake())
    rows = lake.read_weeks("evaluation_disagreements", workflow=workflow)
    retired = lake.read_weeks("benchmark", workflow=workflow).filter("retired")["case_id"]
    rows = rows.filter(week=week) if week else rows.filter(~pl.col("case_id").is_in(retired.implode()))
    if not rows.height:
        print("no disagreement between people and the program check")
        return
    said = {True: "pass", False: "fail"}
    for row in rows.sort("week", "case_id", descending=[True, False]).iter_rows(named=True):
        why = f" ({row['failure_reason']})" if row["failure_reason"] else ""
        print(f"{row['week']}  {row['case_id']}  {row['output_id']}  fault={row['fault']}")
        print(
            f"    program: {said[row['program_success']]}{why}; people: {said[row['human_success']]} ({row['raters']})"
        )
        for comment in (row["comments"] or "").splitlines():
            print(f"    | {visible(comment)}")
    print(f"{rows.height} in {rows['case_id'].n_unique()} cases. A wrong case is superseded by one with a new id, a wrong scorer gets a new version.")  # fmt: skip
