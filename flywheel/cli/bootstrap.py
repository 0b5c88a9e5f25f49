"""`flywheel bootstrap`: demonstrations for a first checkpoint, planned, taken, reviewed, and built into the dataset of week zero."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.chat.visible import visible
from flywheel.cli import app
from flywheel.cli.teacher import WorkflowName, show_requests, show_run, tell_taught
from flywheel.errors import FlywheelError
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.datasets.week_zero.old_runs import Taken
    from flywheel.datasets.week_zero.prompts import Asked
    from flywheel.operations.bootstrap import Overview


@app.command()
def bootstrap(
    workflow: WorkflowName,
    week: Annotated[str | None, typer.Option(help="Monday of week zero; by default the week before the first one collected.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show the plan and how far it is.")] = False,
    runs: Annotated[bool, typer.Option(help="Take successful old runs of the weeks collected so far.")] = True,
    prompts: Annotated[int, typer.Option(min=0, help="Write so many prompts into the pack's tasks.jsonl, from requests of collected runs; failed ones first.")] = 0,
    teacher: Annotated[str | None, typer.Option(help="Have a teacher show the tasks: base URL of an OpenAI-compatible server.")] = None,
    model: Annotated[str, typer.Option(help="Name of the model there.")] = "",
    tasks: Annotated[Path | None, typer.Option(help="JSONL of tasks for the teacher; the pack's tasks.jsonl by default.")] = None,
    temperature: Annotated[float, typer.Option(help="Of the teacher; 0 is greedy.", min=0, max=2)] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer of the teacher.", min=1)] = 512,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --teacher: print what would be sent, and send nothing.")] = False,
    review: Annotated[bool, typer.Option("--review", help="Look at what waits for a person, one after the other.")] = False,
    refuse: Annotated[str, typer.Option(metavar="ID", help="Refuse a demonstration, also one that counts already.")] = "",
    by: Annotated[str, typer.Option(help="Your name, with --review and --refuse.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The plan, machine-readable; changes nothing.")] = False,
) -> None:  # fmt: skip
    """Plan demonstrations for a first checkpoint, take successful old runs, and build the dataset of week zero from what counts.

    Run again, it takes only what is new. What a verifier of the pack did not pass waits for a person; a second person looks at all
    whose calls change something, and at the pack's share of the others (docs/week-zero.md).
    """
    from flywheel.datasets.week_zero.ledger import decide, ledger_of
    from flywheel.operations.bootstrap import overview, summary, take_old_runs, take_prompts

    settings = Settings()
    seen = overview(settings, workflow, week)
    if as_json:
        print(json.dumps(summary(seen), indent=2))
        return
    if plan:
        _show(seen)
        return
    if teacher:
        if _teach(settings, seen, teacher, model, tasks, temperature, max_tokens, dry_run):
            return
    elif prompts:
        _told_prompts(take_prompts(settings, seen, prompts), seen.pack.name)
    elif dry_run:
        raise FlywheelError(
            "only a teacher is sent anything", where="--dry-run", remedy="name it: --teacher URL --model NAME"
        )
    elif refuse:
        decide(ledger_of(settings.bootstrap(), seen.pack.folder), seen.pack, refuse, by=by, accept=False)
    elif review:
        _review(settings, seen, by)
    elif runs:
        _told(take_old_runs(settings, seen))
    seen = overview(settings, workflow, week)
    _show(seen)
    _build(settings, seen)


def _show(seen: "Overview") -> None:
    """The plan as a table, what the missing ones take, and the review."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from flywheel.datasets.week_zero.ledger import measured_minutes

    where = (
        "the benchmark's cases"
        if seen.by_benchmark
        else "the branches of the tools' schemas; there is no benchmark yet"
    )
    print(f"{seen.pack.name}, week zero is {seen.week}; targets from {where}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("category", "tool", "wanted", "count", "wait", "refused"):
        table.add_column(name, justify="left" if name in ("category", "tool") else "right")
    for line in seen.lines:
        table.add_row(line.cell.category, line.cell.tool or "(none called)", f"{line.target:,}", f"{line.counted:,}", f"{line.waiting:,}",
                      f"{line.refused:,}")  # fmt: skip
    Console(highlight=False, markup=False).print(table)
    counted, wanted = (
        sum(min(line.counted, line.target) for line in seen.lines),
        sum(line.target for line in seen.lines),
    )
    print(
        f"{counted:,} of {wanted:,} wanted demonstrations count, {len(seen.lot.of('first', 'second')):,} wait for a person"
    )
    _say_review(seen)
    if seen.efforts and seen.efforts[0].demonstrations:
        print(f"the {seen.efforts[0].demonstrations:,} that are missing take")
    for one in seen.efforts if seen.efforts and seen.efforts[0].demonstrations else []:
        money = "no money is known: state rates in workflow.yaml" if one.cost is None else f"cost {one.cost:,.2f}"
        print(f"  {one.source}: {one.writing_hours:,.1f} h to write, {one.review_hours:,.1f} h to look at; {money}")
    if measured := measured_minutes(seen.lot):
        reckoned = seen.pack.settings.week_zero.minutes_to_write
        print(
            f"writing took {measured[0]:,.1f} minutes, the median of {measured[1]}; the plan reckons with week_zero.minutes_to_write: {reckoned:g}"
        )


def _say_review(seen: "Overview") -> None:
    """How much a second person looks at, and what came of it."""
    from flywheel.statistics.paired import rate

    lot, stated = seen.lot, seen.pack.settings.week_zero.review
    found = "nothing was looked at yet"
    if lot.looked_at:
        found = f"of those looked at {rate(lot.refused_there, lot.looked_at)} were refused"
    tighter = f", so all of them instead of {stated:.0%}" if lot.share > stated else ""
    print(f"a second person looks at all that change something and {lot.share:.0%} of the others; {found}{tighter}")


def _told(taken: "Taken") -> None:
    print(
        f"old runs: {len(taken.verified)} that a verifier of the pack passed, {len(taken.proposed)} that a person is asked about"
    )
    if taken.rewarded:
        print(
            f"  {taken.rewarded} of those carry the source's full reward: verifiers: [reward] in workflow.yaml accepts such runs by it"
        )
    for reason, count in taken.passed_over.most_common():
        print(f"  {count} passed over: {reason}")


def _told_prompts(asked: "Asked", workflow: str) -> None:
    print(f"{len(asked.tasks)} prompts added to tasks.jsonl: experts show them in flywheel workbench --workflow {workflow}, "
          "a teacher with --teacher")  # fmt: skip
    for reason, count in asked.passed_over.most_common():
        print(f"  {count} runs passed over: {reason}")


def _teach(
    settings: Settings, seen: "Overview", url: str, model: str, tasks: Path | None, temperature: float, max_tokens: int, dry_run: bool
) -> bool:  # fmt: skip
    """Have a teacher show every task it has not shown yet, into the ledger; True where nothing was sent."""
    from flywheel.datasets.endpoint import PURPOSE, Endpoint, Sampling
    from flywheel.datasets.teacher import read_tasks, teach
    from flywheel.datasets.week_zero.ledger import add_drafts, ledger_of
    from flywheel.datasets.week_zero.taught import shelf_of_week_zero, taught_drafts
    from flywheel.privacy.egress import destination

    if not model.strip():
        raise FlywheelError("no model is named", where="--model", remedy="name the teacher's model: --model NAME")
    pack, log = seen.pack, settings.egress_log(seen.pack.name)
    to = destination(url, pack.settings.egress, PURPOSE, where="--teacher")
    wanted, shelf = (
        read_tasks(tasks or pack.folder / "tasks.jsonl", pack),
        shelf_of_week_zero(settings.bootstrap(), pack.name),
    )
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
    with Endpoint(url, model, to, sampling, log=log, key=settings.teacher_key) as asked:
        if dry_run:
            show_requests(pack, wanted, asked)
            return True
        try:
            tell_taught(teach(pack, wanted, asked, shelf), f"flywheel bootstrap {pack.name} --review --by YOUR_NAME")
        finally:  # a server that fails leaves what it showed before
            add_drafts(ledger_of(settings.bootstrap(), pack.folder), taught_drafts(shelf))
    return False


def _build(settings: Settings, seen: "Overview") -> None:
    """Build the dataset where nothing is missing, and say what to type next."""
    from flywheel.operations.bootstrap import build, next_command, prepare, too_few
    from flywheel.operations.launch import instance
    from flywheel.operations.screen import Screen

    waits = prepare(settings, seen)
    for what, command in waits:
        print(f"the dataset of week zero waits: {what}\n  -> {command}")
    if not waits:
        with instance() as on:
            built = build(settings, seen, on, Screen(settings.home / "run.log"))
        left = ", ".join(f"{count} {reason}" for reason, count in built.left_out.items()) or "none"
        print(f"dataset of week zero ({seen.week}): {built.rows:,} rows; left out: {left}")
        if why := too_few(seen):
            print(f"learn would train nothing yet: {why}")
    print(f"next: {next_command(settings, seen, waits)}")


def _review(settings: Settings, seen: "Overview", by: str) -> None:
    from flywheel.datasets.week_zero.ledger import decide, ledger_of, may_look

    if not by.strip():
        raise FlywheelError("nobody is named", where="--by", remedy="say who looks: --by YOUR_NAME")
    ledger = ledger_of(settings.bootstrap(), seen.pack.folder)
    waiting = seen.lot.of("first", "second")
    mine = [one for one in waiting if may_look(one, by.strip())]
    for number, one in enumerate(mine, 1):
        role = "first" if one.status == "first" else f"second, after {one.first}"
        print(f"\n[{number} of {len(mine)}] {one.row['id']}, {one.cell.category}, made by {visible(one.row['annotator'])}; you are the {role}"
              + ("; it changes something" if one.writes else ""))  # fmt: skip
        show_run(one.row)
        said = (
            typer.prompt("accept, reject, later, quit (a/r/l/q)", default="l", show_default=False).strip().lower()[:1]
        )
        if said == "q":
            break
        if said in ("a", "r"):
            decide(ledger, seen.pack, one.row["id"], by=by, accept=said == "a")
    if len(mine) < len(waiting):
        print(f"\n{len(waiting) - len(mine)} wait for somebody other than {visible(by)}")
