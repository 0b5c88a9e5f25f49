"""A benchmark case: what the model is shown and what is expected of it.

What goes here: the case's shape and loading it from a pack with errors that name file, line and remedy. What does not:
matching answers (`matchers.py`), freezing (`freeze.py`), scoring (`flywheel.evaluation.scorers`).
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.schema_check import tool_names

REQUIRED_CATEGORIES = ("tool_calling", "multi_step", "refusal", "recovery")
Category = Literal["tool_calling", "multi_step", "refusal", "recovery"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ExpectedCall(_Strict):
    """One call the next step must make: parameter -> matcher (see `matchers.py`)."""

    name: str
    arguments: dict[str, dict[str, Any]]


class Action(_Strict):
    """One gold call of an episode, as tau-bench writes it."""

    name: str
    arguments: dict[str, Any]


class World(_Strict):
    """Which world an episode plays in."""

    seed: int
    overrides: dict[str, Any] = {}


class CallExpectation(_Strict):
    """The next assistant step makes exactly these calls, in any order."""

    kind: Literal["call"]
    calls: list[ExpectedCall] = Field(min_length=1)


class ReplyExpectation(_Strict):
    """The next assistant step makes no call; each group has one phrase in the reply, no excluded phrase is in it."""

    kind: Literal["reply"]
    includes: list[list[str]] = Field(min_length=1)
    excludes: list[str] = []


class EpisodeExpectation(_Strict):
    """The whole conversation: end state equals the gold actions' end state, and the outputs were said.

    `replies` are the customer's further turns, sent in order whenever the assistant answers without a call.
    """

    kind: Literal["episode"]
    environment: World
    replies: list[str] = []
    actions: list[Action]
    outputs: list[str] = []
    max_steps: int = Field(6, ge=1, le=20)


class Exercises(_Strict):
    """What a case is about: failure buckets and tools; the gate finds a week's targeted cases by it."""

    buckets: list[str]
    tools: list[str]


class Origin(_Strict):
    """The production run a case was made from: it and all conversations of its near-duplicate group never train."""

    trace_id: str
    conversations: list[str]


class Case(_Strict):
    """One frozen case: `messages` is the history without the system prompt; `origin` names a promoted case's run."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,79}$")
    cluster: str = Field(min_length=1)
    category: Category
    exercises: Exercises
    messages: list[dict[str, Any]] = Field(min_length=1)
    expectation: Annotated[CallExpectation | ReplyExpectation | EpisodeExpectation, Field(discriminator="kind")]
    origin: Origin | None = None


def load_cases(folder: Path, tools: list[dict[str, Any]]) -> list[Case]:
    """All cases of `folder/*.jsonl`, sorted by id; an absent or empty folder gives none.

    Raises FlywheelError naming file, line and remedy for the first case that is wrong.
    """
    cases: dict[str, Case] = {}
    asked: dict[str, Case] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            case = _parse(line, f"{file}:{number}")
            _check_tools(case, tools, f"{file}:{number}")
            if case.id in cases:
                remedy = "give one of them another id"
                raise FlywheelError(f"case id {case.id!r} stands twice", where=f"{file}:{number}", remedy=remedy)
            cases[case.id] = case
            _refuse_twin(case, asked, f"{file}:{number}")
    return [cases[key] for key in sorted(cases)]


def _refuse_twin(case: Case, asked: dict[str, Case], where: str) -> None:
    """Refuse the same history with the same expectation under two clusters: statistics would count one answer as two.

    Inside one cluster it is allowed; there cases are not taken to be independent.
    """
    content = sha256_of(case.model_dump(mode="json", include={"messages", "expectation"}))
    other = asked.setdefault(content, case)
    if other.cluster != case.cluster:
        raise FlywheelError(f"case {case.id!r} asks and expects what case {other.id!r} of another cluster does", where=where,
                            remedy="remove one of the two, or put both into one cluster")  # fmt: skip


def _parse(line: str, where: str) -> Case:
    try:
        return Case.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise FlywheelError(f"not valid JSON: {error.msg}", where=where, remedy="mend or remove that line") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise FlywheelError(f"{key}: {first['msg']}", where=where, remedy="correct that field of the case") from None


def _check_tools(case: Case, tools: list[dict[str, Any]], where: str) -> None:
    known = set(tool_names(tools))
    expectation = case.expectation
    named: Iterable[str] = case.exercises.tools
    if expectation.kind == "call":
        named = [*named, *(call.name for call in expectation.calls)]
    elif expectation.kind == "episode":
        named = [*named, *(action.name for action in expectation.actions)]
    unknown = sorted(set(named) - known)
    if unknown:
        remedy = f"use a tool of tools.json: {', '.join(sorted(known))}"
        raise FlywheelError(f"case {case.id} names unknown tool {unknown[0]!r}", where=where, remedy=remedy)


def coverage(cases: Sequence[Case]) -> list[str]:
    """Required categories that have no case yet."""
    present = {case.category for case in cases}
    return [category for category in REQUIRED_CATEGORIES if category not in present]


def benchmark_version(cases: Sequence[Case], tools_sha256: str) -> str:
    """Hash of all cases and the tools they run on, 16 hex digits."""
    return sha256_of([tools_sha256, [case.model_dump(mode="json", exclude={"origin"}) for case in cases]])[:16]
