"""`flywheel benchmark`: what evaluates the model, and what it therefore never learns from."""

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli import app
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.benchmark.lint.balance import Power
    from flywheel.workflows.pack import Pack

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
    from flywheel.benchmark.cases import load_cases
    from flywheel.benchmark.lint.run import lint_cases, refuse_errors
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
    case = case_of_trace(lake, workflow, trace_id, Wanted(given, includes), category=category, responses=pack.responses)
    others = load_cases(pack.folder / "benchmark", pack.tools)
    refuse_errors(lint_cases([*others, case], pack), [case.id])
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
def lint(
    workflow: Workflow = "support_desk",
    everything: Annotated[bool, typer.Option("--all", help="Every finding; else five of each rule.")] = False,
) -> None:
    """Find wrong, ambiguous, doubled and unreachable cases, and say what the benchmark can detect; exit 1 on errors."""
    from flywheel.benchmark.lint.balance import discordance, power_table
    from flywheel.benchmark.lint.run import lint as lint_pack
    from flywheel.lake import Lake
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack = find_pack(settings.workflows(), workflow)
    cases, findings = lint_pack(pack, count=_token_counter(settings, pack))
    shown = Counter[str]()
    for finding in findings:
        shown[finding.rule] += 1
        if everything or shown[finding.rule] <= 5:
            print(finding)
    for rule, count in shown.items():
        if not everything and count > 5:
            print(f"... {count - 5} more of {rule}; --all shows them")
    measured = discordance(Lake(settings.lake()), workflow)
    print(f"\n{'category':<14}{'cases':>6}{'clusters':>10}{'detects':>20}")
    for row in power_table(cases, measured.share):
        print(f"{row.category:<14}{row.cases:>6}{row.clusters:>10}{_detects(row):>20}")
    print(f"detects: {_DETECTS}; discordance {measured.share:.1%}, {measured.source}")
    errors = sum(finding.level == "error" for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} warnings in {len(cases)} cases")
    if errors:
        raise typer.Exit(1)


def _token_counter(settings: Settings, pack: "Pack") -> Callable[[str], int] | None:
    """The base model's own count of a text's tokens; None where the model is not in the cache."""
    from flywheel.chat.render import Renderer
    from flywheel.workflows.base_model import find_base_model

    try:
        base = find_base_model(settings.models(), pack.settings.base_model)
    except FlywheelError:
        return None
    renderer = Renderer(base.tokenizer_file, pack.settings.model_family)
    return lambda text: len(renderer.encode(text))


_DETECTS = "the smallest true difference seen with power 0.8, of independent cases, and where those of a cluster come out together"


def _detects(row: "Power | None") -> str:
    """What a category resolves, in percentage points; nothing without a case. No two models differ by more than 100 points."""
    if row is None or not row.cases:
        return ""
    if row.detectable > 1:
        return "nothing"
    best, worst = f"{row.detectable * 100:.1f}", f"{min(row.at_worst, 1) * 100:.1f}"
    return f"{best} points" if best == worst else f"{best} to {worst} points"


@benchmark.command()
def stats(workflow: Workflow = "support_desk") -> None:
    """Count the cases by category, and what they bar from training."""
    from flywheel.benchmark.freeze import active
    from flywheel.benchmark.leaks import read_registry
    from flywheel.benchmark.lint.balance import discordance, power_table
    from flywheel.lake import Lake

    lake = Lake(Settings().lake())
    frozen = lake.read_partition("benchmark", workflow=workflow)
    measured = discordance(lake, workflow)
    power = {row.category: row for row in power_table(active(frozen), measured.share)}
    registry = read_registry(lake, workflow)
    print(f"{'category':<14}{'cases':>6}{'retired':>9}{'clusters':>10}{'detects':>20}")
    for (category,), rows in sorted(frozen.group_by("category")):
        counts = f"{rows.height:>6}{int(rows['retired'].sum()):>9}{rows['case_cluster'].n_unique():>10}"
        print(f"{category!s:<14}{counts}{_detects(power.get(str(category))):>20}")
    print(f"all that evaluate: {_detects(power['all'])}, {_DETECTS} ({measured.source})")
    promoted = frozen["origin_trace_id"].count()
    held_out = registry.height - frozen.height
    conversations = len({one for text in registry["conversations"] for one in json.loads(text)})
    print(f"{promoted} cases were promoted from production; {held_out} rows are held out of training")
    print(
        f"barred for ever: {conversations} conversations, and whatever is near {registry.height} texts and their calls"
    )
