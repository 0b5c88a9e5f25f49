"""Demonstrations by a teacher model: tasks played against the pack's environment, or given histories gone on with by one step.

What the teacher shows waits in `home/teacher/<workflow>/pending.jsonl`. It trains only after a person, or a verifier that the pack
names, accepted it (design.md 8.7): then it stands in the pack's `demonstrations/teacher.jsonl`, marked as what it is.

A task is a JSON line: {"id", "messages"}, and where the pack has an environment {"environment": {"seed", "overrides"}}, with what the
person says further in "replies", and the gold calls in "actions". "recorded" are the messages of a run whose results the tools say
again to an expert in the workbench, where there is no environment; a teacher is not shown them. "conversation_id" is that of the run.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.benchmark.cases import Action, World
from flywheel.datasets.endpoint import OF_THE_SERVER, Endpoint, Message, NoStep
from flywheel.datasets.verified import passed_by
from flywheel.errors import FlywheelError
from flywheel.progress import report_progress
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.environment import run_calls
from flywheel.workflows.pack import Pack

_IN_A_ROW = 3
Row = dict[str, Any]


class Task(BaseModel):
    """One thing to be shown; see the module."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(min_length=1, max_length=120)
    messages: list[dict[str, Any]] = Field(min_length=1)
    environment: World | None = None
    replies: list[str] = []
    actions: list[Action] = []
    max_steps: int = Field(8, ge=1, le=40)
    recorded: list[dict[str, Any]] = []
    conversation_id: str | None = None


class Taught(NamedTuple):
    """What a run of the teacher gave: rows that wait, rows a verifier accepted, tasks done before, and refusals by reason."""

    waiting: int
    accepted: int
    done_before: int
    refused: Counter[str]
    examples: dict[str, str]


class Shelf(NamedTuple):
    """Where a workflow's taught rows lie: those that wait, those a person refused, and the pack's own file of accepted ones."""

    pending: Path
    rejected: Path
    accepted: Path

    def rows(self) -> list[Row]:
        """Every row, wherever it lies."""
        return [row for file in self for row in read_rows(file)]


def shelf_of(folder: Path, pack: Pack) -> Shelf:
    """The files below `home/teacher`."""
    here = folder / pack.name
    return Shelf(here / "pending.jsonl", here / "rejected.jsonl", pack.folder / "demonstrations" / "teacher.jsonl")


def read_rows(file: Path) -> list[Row]:
    """The rows of one file; a missing file has none, and a line that was cut off by a kill is none."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line]


def add_row(file: Path, row: Row) -> None:
    """Add one row at the end, after whatever was cut off there is gone."""
    if file.is_file() and not file.read_bytes().endswith(b"\n"):
        write_rows(file, read_rows(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as opened:
        opened.write(canonical_json(row) + "\n")


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Replace a file as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
    partial.replace(file)


def read_tasks(file: Path, pack: Pack) -> list[Task]:
    """The tasks of a file, the system prompt put before those without one; raises FlywheelError naming the line that is wrong."""
    if not file.is_file():
        raise FlywheelError("there are no tasks for the teacher", where=str(file),
                            remedy='write {"id": "t1", "messages": [{"role": "user", "content": "..."}]} a line, or name --tasks')  # fmt: skip
    tasks: dict[str, Task] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            task = Task.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            raise FlywheelError(f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}", where=where,
                                remedy="correct that field of the task") from None  # fmt: skip
        if task.id in tasks:
            raise FlywheelError(f"task {task.id!r} stands twice", where=where, remedy="give one of them another id")
        if task.messages[-1].get("role") not in ("user", "tool"):
            raise FlywheelError("nobody waits for an answer there", where=where, remedy="end on a user or tool message")
        if task.environment and not pack.has_environment():
            raise FlywheelError("the task plays in an environment, and the pack has none", where=where,
                                remedy="write environment.py, or leave the field out: then one step is asked for")  # fmt: skip
        if task.messages[0].get("role") != "system":
            task.messages.insert(0, {"role": "system", "content": pack.system})
        tasks[task.id] = task
    return list(tasks.values())


def teach(pack: Pack, tasks: Sequence[Task], endpoint: Endpoint, shelf: Shelf) -> Taught:
    """Have every task shown that was not yet, by this model under this sampling; what is done is kept at once.

    Raises FlywheelError when the server fails several tasks in a row; the tasks before stay done.
    """
    known = {row["teacher"]["asked"] for row in shelf.rows()}
    refused: Counter[str] = Counter()
    examples: dict[str, str] = {}
    waiting = accepted = before = in_a_row = 0
    for number, task in enumerate(tasks):
        asked = asked_key(task, endpoint)
        if asked in known:
            before += 1
            continue
        report_progress("teacher", f"{sum(refused.values())} without a usable answer", number, len(tasks))
        try:
            row = _row(pack, task, endpoint, asked)
        except NoStep as none:
            refused[none.reason] += 1
            examples.setdefault(none.reason, f"task {task.id}: {none.detail}")
            in_a_row = in_a_row + 1 if none.reason in OF_THE_SERVER else 0
            if in_a_row >= _IN_A_ROW:
                raise FlywheelError(f"the teacher failed {in_a_row} tasks in a row: {none}", where=endpoint.to.host,
                                    remedy="look at the server, then run it again: what is done is kept") from None  # fmt: skip
            continue
        in_a_row = 0
        add_row(shelf.accepted if row["reviewer"] else shelf.pending, row)
        waiting, accepted = waiting + (not row["reviewer"]), accepted + bool(row["reviewer"])
    return Taught(waiting, accepted, before, refused, examples)


def play(pack: Pack, task: Task, step: Callable[[list[Message]], Message]) -> list[Message]:
    """The run as the teacher plays it to its end; without an environment, the history and one step more. Raises NoStep."""
    world = pack.environment(task.environment.seed, task.environment.overrides) if task.environment else None
    messages, replies = list(task.messages), list(task.replies)
    for message in messages if world else ():
        run_calls(world, message)  # pyright: ignore[reportArgumentType]
    for _ in range(task.max_steps):
        message = step(messages)
        messages.append(message)
        if world is None or not (message.get("tool_calls") or replies):
            return messages
        messages += (
            run_calls(world, message) if message.get("tool_calls") else [{"role": "user", "content": replies.pop(0)}]
        )
    raise NoStep("no_end", f"not done after {task.max_steps} steps")


def asked_key(task: Task, endpoint: Endpoint) -> str:
    """What makes a task done: the task, the model, its host and its sampling."""
    asked = task.model_dump(mode="json", exclude={"recorded", "conversation_id"})  # they are not sent
    return sha256_of([asked, endpoint.model, endpoint.to.host, endpoint.sampling._asdict()])[:16]


def decide(shelf: Shelf, row: Row, *, by: str, accept: bool) -> None:
    """A person accepts or refuses a row that waits; it moves to the pack's demonstrations, or aside. Twice is once.

    Two passes: the teacher wrote it, one person looked at it; the row never claims three.
    """
    if not by.strip():
        raise FlywheelError("nobody is named", where="--by", remedy="say who looked at it")
    target = shelf.accepted if accept else shelf.rejected
    if row["teacher"]["asked"] not in {
        one["teacher"]["asked"] for one in (*read_rows(shelf.accepted), *read_rows(shelf.rejected))
    }:
        add_row(target, {**row, "reviewer": by, "qa_mode": "two"})
    write_rows(
        shelf.pending, [one for one in read_rows(shelf.pending) if one["teacher"]["asked"] != row["teacher"]["asked"]]
    )


def _row(pack: Pack, task: Task, endpoint: Endpoint, asked: str) -> Row:
    messages = play(pack, task, lambda so_far: endpoint.step(so_far, pack.tools))
    told: Mapping[str, Any] = {"model": endpoint.model, "host": endpoint.to.host, **endpoint.sampling._asdict()}
    row = {
        "conversation_id": task.conversation_id or f"taught-{task.id}", "tools": pack.tools, "messages": messages, "trains_from": len(task.messages),
        "source": "teacher", "teacher": {**told, "task": task.id, "asked": asked}, "annotator_kind": "model",
        "annotator": f"{endpoint.model} at {endpoint.to.host}", "reviewer": "", "qa_mode": "none",
    }  # fmt: skip
    gold = canonical_json([action.model_dump() for action in task.actions]) if task.actions else None
    run = {"reward": None, "expected_actions": gold, "messages": json.dumps(messages)}
    verifier = passed_by(run, pack.settings.verifiers)
    return {**row, "reviewer": f"verifier_{verifier}", "qa_mode": "verifier"} if verifier else row
