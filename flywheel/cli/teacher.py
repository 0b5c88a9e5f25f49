"""`flywheel demonstration teach` and `review`: a teacher model shows how it is done, and a person says whether it is right."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flywheel.cli import app
from flywheel.settings import Settings

if TYPE_CHECKING:
    from flywheel.datasets.endpoint import Endpoint
    from flywheel.datasets.teacher import Task, Taught
    from flywheel.workflows.pack import Pack

demonstration = typer.Typer(help="Runs done right, by a teacher model, for training.", no_args_is_help=True)
app.add_typer(demonstration, name="demonstration")

WorkflowName = Annotated[str, typer.Argument(help="Name of the workflow pack.")]


@demonstration.command()
def teach(
    workflow: WorkflowName,
    endpoint: Annotated[str, typer.Option(help="Base URL of an OpenAI-compatible server, as in http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="Name of the model there.")],
    tasks: Annotated[Path | None, typer.Option(help="JSONL of tasks; the pack's tasks.jsonl by default.")] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0, max=2)] = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    seed: Annotated[int, typer.Option(help="Sent to the server, and kept with every row.")] = 0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", min=1)] = 512,
    seconds: Annotated[float, typer.Option(help="How long one answer may take.", min=1)] = 120.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
) -> None:  # fmt: skip
    """Have a teacher model show every task; what it shows waits for `review`. Run again, it goes on where it stopped.

    A server that is not on this machine must stand in the pack under `egress`; FLYWHEEL_TEACHER_KEY is sent as its bearer token.
    """
    from flywheel.datasets.endpoint import PURPOSE, Endpoint, Sampling
    from flywheel.datasets.teacher import read_tasks, shelf_of
    from flywheel.datasets.teacher import teach as have_shown
    from flywheel.privacy.egress import destination
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    pack = find_pack(settings.workflows(), workflow)
    to = destination(endpoint, pack.settings.egress, PURPOSE, where="--endpoint")
    wanted = read_tasks(tasks or pack.folder / "tasks.jsonl", pack)
    shelf, log = shelf_of(settings.teacher(), pack), settings.egress_log(workflow)
    sampling = Sampling(temperature, top_p, seed, max_tokens)
    with Endpoint(endpoint, model, to, sampling, log=log, key=settings.teacher_key, seconds=seconds) as asked:
        if dry_run:
            show_requests(pack, wanted, asked)
            return
        tell_taught(have_shown(pack, wanted, asked, shelf), f"flywheel demonstration review {workflow} --by YOUR_NAME")


def show_requests(pack: "Pack", tasks: "list[Task]", endpoint: "Endpoint") -> None:
    """The first request of every task as it would be sent, and what is held back; nothing is sent."""
    from flywheel.chat.visible import visible
    from flywheel.toolcalls.arguments import canonical_json, sha256_of

    size, held = 0, 0
    for task in tasks:
        body = endpoint.body(task.messages, pack.tools)
        kinds = endpoint.to.held_back(body)
        text = canonical_json(body)
        held, size = held + bool(kinds), size + (0 if kinds else len(text.encode()))
        print(
            f"task {visible(task.id)}, sha256 {sha256_of(body)[:16]}: "
            + (f"NOT sent, holds {', '.join(kinds)}" if kinds else visible(text))
        )
    where = "leaves this machine" if endpoint.to.leaves else "stays on this machine"
    print(
        f"\n{len(tasks) - held} of {len(tasks)} first requests, {size:,} bytes, would go to {endpoint.to.host} ({where}); nothing was sent"
    )
    print(
        f"looked for before each send: {', '.join(endpoint.to.redact) or 'nothing'}; later requests of a task add its answers and results"
    )


def tell_taught(made: "Taught", review: str) -> None:
    """What the teacher showed, what it did not and why, and the command to look at it."""
    from flywheel.chat.visible import visible

    print(f"{made.waiting} shown and waiting, {made.accepted} accepted by a verifier, {made.done_before} done before")
    for reason, count in sorted(made.refused.items()):
        print(f"  {count} without a usable answer: {reason} ({visible(made.examples[reason])})")
    if made.refused:
        print("  those are tried again the next time")
    if made.waiting:
        print(f"none of them trains before a person accepts it: {review}")


@demonstration.command()
def review(
    workflow: WorkflowName, by: Annotated[str, typer.Option(help="Your name; it stands on every row you accept.")]
) -> None:
    """Look at what a teacher showed, one run after the other: what you accept becomes a demonstration of the pack."""
    from flywheel.datasets.teacher import decide, read_rows, shelf_of
    from flywheel.workflows.loader import find_pack

    settings = Settings()
    shelf = shelf_of(settings.teacher(), find_pack(settings.workflows(), workflow))
    waiting, accepted = read_rows(shelf.pending), 0
    for number, row in enumerate(waiting, 1):
        print(f"\n[{number} of {len(waiting)}] task {row['teacher']['task']}, by {row['annotator']}")
        show_run(row)
        said = (
            typer.prompt("accept, reject, later, quit (a/r/l/q)", default="l", show_default=False).strip().lower()[:1]
        )
        if said == "q":
            break
        if said in ("a", "r"):
            decide(shelf, row, by=by, accept=said == "a")
            accepted += said == "a"
    print(f"{accepted} accepted, {len(read_rows(shelf.pending))} still wait")
    if accepted:
        print(f"now: flywheel run --workflow {workflow} --week MONDAY --stage freeze")


def show_run(row: dict[str, Any]) -> None:
    """The run; what is shown in it is marked."""
    from flywheel.chat.visible import visible

    for index, message in enumerate(row["messages"]):
        if message["role"] == "system":
            continue
        mark = ">" if message["role"] == "assistant" and index >= row["trains_from"] else " "
        calls = [
            f"{call['function']['name']} {call['function']['arguments']}" for call in message.get("tool_calls") or []
        ]
        said = " ".join(part for part in (message.get("content") or "", *calls) if part)
        print(f"{mark} {message['role']:<10}{visible(said)[:2_000]}")
