"""`flywheel cover` and `flywheel demonstration take`: what the data lacks, which tools are confused, and drafts against both."""

from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.cli.teacher import WorkflowName, demonstration
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.lake import Lake
    from flywheel.workflows.pack import Pack

Workflow = Annotated[str, typer.Option(help="Name of the workflow pack.")]
CELLS = 5


@app.command()
def cover(
    workflow: Workflow = "support_desk",
    week: Annotated[str | None, typer.Option(help="Dataset and evaluation of this week; each one's newest by default.")] = None,
    arm: Annotated[str, typer.Option(help="Whose calls the confusion matrix counts: candidate or incumbent.")] = "candidate",
    draft: Annotated[int, typer.Option(min=0, help="Draft contrast demonstrations for so many of its largest cells.")] = 0,
) -> None:  # fmt: skip
    """Count which branches of the tools' schemas the dataset teaches, and which tools the evaluated model confuses; say what to collect."""
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    if arm not in ("candidate", "incumbent"):
        raise FlywheelError(f"there is no arm {arm!r}", where="--arm", remedy="write candidate or incumbent")
    settings = Settings()
    pack, lake = find_pack(settings.workflows(), workflow), Lake(settings.lake())
    taught, confused = _branches(lake, pack, week), _confusion(lake, pack, week, arm, draft)
    if not taught and not confused:
        raise FlywheelError(
            f"{workflow} has no dataset yet" if week is None else f"{workflow} has neither dataset nor evaluation of week {week}",
            remedy=f"flywheel run --workflow {workflow} --week MONDAY --stage learn",
        )  # fmt: skip


def _branches(lake: "Lake", pack: "Pack", week: str | None) -> bool:
    """Thin branches of the newest dataset, or the week's; False where there is none."""
    import polars as pl

    from flywheel.datasets.coverage import covered, proposal, thin

    weeks = set(lake.read_columns("sft_dataset", ("week",), workflow=pack.name)["week"])
    chosen = week if week in weeks else max(weeks, default=None) if week is None else None
    if chosen is None:
        return False
    rows = lake.read_columns("sft_dataset", ("row_id", "target"), workflow=pack.name, where=pl.col("week") == chosen)
    found = covered(pack.tools, rows["target"])
    wanted = pack.settings.datasets.examples_per_branch
    missing = thin(found, wanted)
    print(
        f"week {chosen}: {len(found) - len(missing)} of {len(found)} branches of the tools' schemas have {wanted} examples or more"
    )
    for one in missing:
        print(f"  collect {proposal(one, wanted)}")
    return True


def _confusion(lake: "Lake", pack: "Pack", week: str | None, arm: str, draft: int) -> bool:
    """The confusion matrix of the newest evaluation, or the week's, and drafts for its largest cells; False where there is none."""
    import polars as pl

    from flywheel.benchmark.freeze import active
    from flywheel.datasets.contrast import contrasts, write_contrasts
    from flywheel.evaluation.confusion import confusion, largest, matrix_lines

    columns = ("week", "case_id", "adapter_id", "infra_error", "transcript")
    rows = lake.read_columns("eval_results", columns, workflow=pack.name, where=pl.col("arm") == arm)
    rows = rows.filter(week=week or max(rows["week"], default=""))
    if not rows.height:
        return False
    cells = confusion(rows, active(lake.read_weeks("benchmark", workflow=pack.name)), pack.tools)
    adapter, cases = rows["adapter_id"][0], rows["case_id"].n_unique()
    print(f"\ntools expected (rows) against called (columns), {adapter} in week {rows['week'][0]}, {cases} cases")
    for line in matrix_lines(cells):
        print(f"  {line}")
    confused = largest(cells, max(CELLS, draft))
    for cell in confused:
        print(
            f"  {cell.expected}, and {cell.called} instead: {cell.count} times in {cell.cases} cases, e.g. {cell.example}"
        )
    made = [one for cell in confused[:draft] for one in contrasts(pack.tools, cell.expected, cell.called, cell.count)]
    for file in write_contrasts(pack, made) if made else []:
        print(f"wrote {file}")
    if made:
        print(f"  edit and sign them, set ready to true, then: flywheel demonstration take {pack.name}")
    elif confused:
        print("  drafts of demonstrations against the largest cells: flywheel cover --draft 3")
    return True


@demonstration.command()
def take(workflow: WorkflowName) -> None:
    """Move the demonstration drafts that are ready into the pack, all or none of them; they train from the next freeze on."""
    from flywheel.datasets.contrast import take_ready
    from flywheel.workflows.loader import find_pack

    pack = find_pack(Settings().workflows(), workflow)
    moved, waiting = take_ready(pack)
    print(f"{len(moved)} demonstrations taken" + (f": {', '.join(moved)}" if moved else ""))
    if waiting:
        print(f"{len(waiting)} drafts are not ready: {', '.join(waiting[:8])}")
    if moved:
        print(f"now: flywheel run --workflow {workflow} --week MONDAY --stage freeze")
