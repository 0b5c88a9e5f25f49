"""`flywheel benchmark add` and `stats`: what evaluates the model, and what it therefore never learns from."""

import json
from typing import Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

benchmark = typer.Typer(help="The frozen cases that judge every adapter.", no_args_is_help=True)
app.add_typer(benchmark, name="benchmark")

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]


@benchmark.command()
def add(
    trace_id: Annotated[str, typer.Argument(help="A failed run, as in production_failures.")],
    workflow: Workflow = "support_desk",
    category: Annotated[str | None, typer.Option(help="tool_calling, multi_step, refusal or recovery.")] = None,
    includes: Annotated[list[str] | None, typer.Option(help="A phrase the right reply holds; may be repeated.")] = None,
    calls: Annotated[str | None, typer.Option(help="The right calls, JSON: [{name, arguments}].")] = None,
) -> None:
    """Promote a failed run into the benchmark; its conversation and near-duplicates never train from then on."""
    from flywheel.benchmark.promote import Wanted, case_of_trace, touched_rows, write_case
    from flywheel.lake import Lake
    from flywheel.operations.launch import instance, run_job
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    try:
        given = None if calls is None else list(json.loads(calls))
    except ValueError as error:
        raise FlywheelError(
            f"--calls is no JSON list: {error}", remedy='write [{"name": "...", "arguments": {}}]'
        ) from None
    case = case_of_trace(lake, workflow, trace_id, Wanted(given, includes), category=category)
    file = write_case(pack.folder / "benchmark", case, pack.tools)
    with instance() as on:
        run_job("freeze", workflow=workflow, week=None, on=on, stages=["benchmark"])
    assert case.origin is not None
    print(f"{case.id} is frozen ({case.category}, {case.expectation.kind}); written to {file}")
    print(
        f"barred from training: {len(case.origin.conversations)} conversations of its near-duplicate group, and every near text"
    )
    trained = touched_rows(lake, workflow, case.origin.conversations)
    for week, rows in trained.items():
        print(f"  {rows} rows of sft_dataset of week {week} stem from them; later builds leave them out")


@benchmark.command()
def stats(workflow: Workflow = "support_desk") -> None:
    """Count the cases by category, and what they bar from training."""
    from flywheel.benchmark.leaks import read_registry
    from flywheel.lake import Lake

    lake = Lake(Settings().lake())
    frozen = lake.read_partition("benchmark", workflow=workflow)
    registry = read_registry(lake, workflow)
    print(f"{'category':<14}{'cases':>6}{'retired':>9}{'clusters':>10}")
    for (category,), rows in sorted(frozen.group_by("category")):
        print(f"{category!s:<14}{rows.height:>6}{int(rows['retired'].sum()):>9}{rows['case_cluster'].n_unique():>10}")
    promoted = frozen["origin_trace_id"].count()
    held_out = registry.height - frozen.height
    conversations = len({one for text in registry["conversations"] for one in json.loads(text)})
    print(f"{promoted} cases were promoted from production; {held_out} rows are held out of training")
    print(
        f"barred for ever: {conversations} conversations, and whatever is near {registry.height} texts and their calls"
    )
