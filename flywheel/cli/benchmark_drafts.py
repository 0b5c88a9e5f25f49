"""`flywheel benchmark new | draft | supersede | freeze`: cases on their way into the benchmark."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flywheel.cli.benchmark import Workflow, benchmark
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.benchmark.cases import Category
    from flywheel.lake import Lake
    from flywheel.workflows.pack import Pack


def _open(workflow: str) -> "tuple[Pack, Lake]":
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    return find_pack(settings.workflows(), workflow), Lake(settings.lake())


@benchmark.command()
def new(
    category: Annotated[str, typer.Argument(help="tool_calling, multi_step, refusal or recovery.")],
    workflow: Workflow = "support_desk",
    case: Annotated[
        str | None, typer.Option("--id", help="Id of the case; by default the category and a number.")
    ] = None,
    tool: Annotated[str | None, typer.Option(help="The tool it is about.")] = None,
) -> None:
    """Write the skeleton of a case to fill in, with a call that the tool accepts, as a draft."""
    from flywheel.benchmark.cases import REQUIRED_CATEGORIES
    from flywheel.benchmark.drafts import FOLDER, write_draft
    from flywheel.benchmark.skeletons import skeleton
    from flywheel.benchmark.supersede import listed_cases

    if category not in REQUIRED_CATEGORIES:
        raise FlywheelError(
            f"there is no category {category!r}", remedy=f"use one of: {', '.join(REQUIRED_CATEGORIES)}"
        )
    pack, lake = _open(workflow)
    folder = pack.folder / "benchmark"
    taken = {one.id for one in listed_cases(folder)} | {file.stem for file in (folder / FOLDER).glob("*.yaml")}
    taken |= set(lake.read_weeks("benchmark", workflow=workflow)["case_id"])
    if case in taken:
        raise FlywheelError(f"there is a case {case!r} already", remedy="choose another id; ids are never used again")
    number = 1
    while case is None or case in taken:
        case, number = f"{category.replace('_', '-')}-{number}", number + 1
    file = write_draft(pack, skeleton(pack, cast("Category", category), case, tool), f"A {category} case to fill in.")
    print(f"wrote {file}\n  edit it, set ready to true, then: flywheel benchmark freeze --workflow {workflow}")


@benchmark.command()
def draft(
    workflow: Workflow = "support_desk",
    corrections: Annotated[int, typer.Option(min=0, help="From accepted corrections, at most.")] = 10,
    refusals: Annotated[int, typer.Option(min=0, help="Requests that lack a fact, at most.")] = 4,
    adversarial: Annotated[
        int, typer.Option(min=0, help="Injections, pressure, near misses, poisoned fields, at most.")
    ] = 8,
) -> None:
    """Draft cases for a person to edit; what they are made of trains no more, from now on."""
    from flywheel.benchmark.drafts import bar_drafts
    from flywheel.benchmark.proposals import SHARE, draft_cases, missing_categories

    pack, lake = _open(workflow)
    written = draft_cases(lake, pack, corrections=corrections, refusals=refusals, adversarial=adversarial)
    barred = bar_drafts(lake, pack, datetime.now(UTC))
    for file in written:
        print(f"wrote {file}")
    print(f"{len(written)} drafts written, {barred} drafts bar their conversations and near-duplicates from training")
    print(
        f"at most {SHARE:.0%} of the accepted corrections become cases; delete a draft and run this again to let it go"
    )
    print(f"  edit them, set ready to true, then: flywheel benchmark freeze --workflow {workflow}")
    for category in missing_categories(pack):
        print(f"  learn also needs a {category} case: flywheel benchmark new {category} --workflow {workflow}")


@benchmark.command()
def supersede(
    cases: Annotated[list[str] | None, typer.Argument(help="Ids; by default all whose tools changed.")] = None,
    workflow: Workflow = "support_desk",
    ready: Annotated[bool, typer.Option(help="Call drafts ready that a rename carries over whole.")] = False,
) -> None:
    """Draft successors of cases whose tools changed; frozen cases are never edited."""
    from flywheel.benchmark.drafts import bar_drafts
    from flywheel.benchmark.supersede import propose

    pack, lake = _open(workflow)
    written = propose(pack, cases, ready=ready)
    bar_drafts(lake, pack, datetime.now(UTC))
    for file in written:
        print(f"wrote {file}")
    print(
        f"{len(written)} cases are to be superseded"
        + (f"; then: flywheel benchmark freeze --workflow {workflow}" if written else "")
    )


@benchmark.command()
def freeze(workflow: Workflow = "support_desk") -> None:
    """Move the drafts that are ready into the benchmark and freeze it; what has an error stays a draft."""
    from flywheel.benchmark.drafts import bar_drafts, move_ready
    from flywheel.benchmark.supersede import propose
    from flywheel.operations.launch import instance, run_job

    pack, lake = _open(workflow)
    proposed = propose(pack)
    moved = move_ready(pack)
    for case in moved.cases:
        print(
            f"{case.id} enters the benchmark ({case.category}, {case.expectation.kind})"
            + (f"; {case.supersedes} is retired" if case.supersedes else "")
        )
    for file in proposed:
        print(f"a tool changed: {file.name} is drafted; look at it and set ready to true")
    with instance() as on:
        run_job("freeze", workflow=workflow, week=None, on=on, stages=["benchmark"])
    bar_drafts(lake, pack, datetime.now(UTC))
    frozen = lake.read_partition("benchmark", workflow=workflow)
    print(f"{frozen.height - int(frozen['retired'].sum())} cases evaluate, {int(frozen['retired'].sum())} are retired")
    if moved.waiting:
        print(f"{len(moved.waiting)} drafts are not ready: {', '.join(moved.waiting[:8])}")
