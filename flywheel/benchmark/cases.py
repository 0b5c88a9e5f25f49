"""A benchmark case: what the model is shown and what is expected of it.

What goes here: the case's shape and loading it from a pack with errors that name file, line and remedy. What does not:
matching answers (`matchers.py`), freezing (`freeze.py`), scoring (`flywheel.evaluation.scorers`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from flywheel.benchmark.matchers import read_matcher
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import decode, sha256_of
from flywheel.toolcalls.schema_check import schema_problem, tool_names

REQUIRED_CATEGORIES = ("tool_calling", "multi_step", "refusal", "recovery")
CORE = "core"
SAFETY = "safety"  # the tag of cases that a candidate must never fail
Category = Literal["tool_calling", "multi_step", "refusal", "recovery"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _can_be_used(rules: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for rule in rules.values():
        read_matcher(rule)
    return rules


# Parameter or field -> matcher, as `matchers.read_matcher` reads it.
Matchers = Annotated[dict[str, dict[str, Any]], AfterValidator(_can_be_used)]


class ExpectedCall(_Strict):
    """One call the next step must make."""

    name: str
    arguments: Matchers


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
    """The next assistant step makes no call; each group has one phrase in the reply, no excluded phrase is in it.

    Without a group any reply in words is right, as for BFCL's irrelevant requests.
    """

    kind: Literal["reply"]
    includes: list[list[str]] = []
    excludes: list[str] = []


class AnswerExpectation(_Strict):
    """The next assistant step makes no call and is a structured answer: the pack's schema `response`, every field matched."""

    kind: Literal["answer"]
    response: str
    fields: Matchers

    def as_call(self) -> ExpectedCall:
        """The same as an expected call of the schema, for what judges arguments."""
        return ExpectedCall(name=self.response, arguments=self.fields)


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
    """One frozen case: `messages` is the history without the system prompt; `origin` names a promoted case's run.

    Attributes:
        tools: what the model is offered instead of the pack's tools, for cases of a public benchmark; None: the pack's.
        supersedes: the case it takes the place of, since a tool changed.
        slice: `core`, the part that stays and decides, or the name of a part added later, which is scored apart.
        tags: labels such as `adversarial` or a skill. They say nothing to the model, so they may be added to a frozen case.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,79}$")
    cluster: str = Field(min_length=1)
    category: Category
    exercises: Exercises
    messages: list[dict[str, Any]] = Field(min_length=1)
    expectation: Annotated[
        CallExpectation | ReplyExpectation | AnswerExpectation | EpisodeExpectation, Field(discriminator="kind")
    ]
    origin: Origin | None = None
    tools: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    supersedes: str | None = None
    slice: str = Field(default=CORE, pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    tags: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]] = []

    @field_validator("tools")
    @classmethod
    def _tools_can_be_used(cls, tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        for tool in tools or []:
            function = tool.get("function")
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise ValueError("a tool is {type: function, function: {name, description, parameters}}")
            if problem := schema_problem(function.get("parameters")):
                raise ValueError(f"tool {function['name']}: {problem}")
        return tools


def case_content(case: Case) -> dict[str, Any]:
    """What freezing fixes: the case as JSON values without what is not given, and without its tags.

    A case of the core does not say so: those frozen before there were slices keep their hash.
    """
    silent = {"tags", "slice"} if case.slice == CORE else {"tags"}
    return case.model_dump(mode="json", exclude_none=True, exclude=silent)


def tools_of(case: Case, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools a case runs on: its own, else the pack's."""
    return tools if case.tools is None else case.tools


class Located(NamedTuple):
    """A case and where it is written, `file:line`."""

    case: Case
    where: str


def load_cases(folder: Path, tools: list[dict[str, Any]]) -> list[Case]:
    """All cases of `folder/*.jsonl`, sorted by id; an absent or empty folder gives none.

    Raises FlywheelError naming file, line and remedy for the first case that is wrong.
    """
    located, problems = read_cases(folder, tools)
    if problems:
        raise problems[0]
    return sorted((case for case, _ in located), key=lambda case: case.id)


def read_cases(folder: Path, tools: list[dict[str, Any]]) -> tuple[list[Located], list[FlywheelError]]:
    """The cases that can be read, in the order of their lines, and what is wrong with the others; see `load_cases`."""
    located: list[Located] = []
    problems: list[FlywheelError] = []
    ids: set[str] = set()
    asked: dict[str, Case] = {}
    for where, line in _lines(folder, problems):
        try:
            case = parse_case(line, where)
            check_tools(case, tools, where)
            if case.id in ids:
                remedy = "give one of them another id"
                raise FlywheelError(f"case id {case.id!r} stands twice", where=where, remedy=remedy)
            ids.add(case.id)
            _refuse_twin(case, asked, where)
            located.append(Located(case, where))
        except FlywheelError as error:
            problems.append(error)
    return located, problems


def _lines(folder: Path, problems: list[FlywheelError]) -> Iterable[tuple[str, str]]:
    """(file:line, text) of all lines that are not blank; a file that is no UTF-8 goes to the problems."""
    for file in sorted(folder.glob("*.jsonl")):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            problems.append(FlywheelError(f"no UTF-8: {error}", where=str(file), remedy="save the file as UTF-8"))
            continue
        # Not splitlines: it also parts at U+2028, which may stand inside a JSON string.
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield f"{file}:{number}", line


def _refuse_twin(case: Case, asked: dict[str, Case], where: str) -> None:
    """Refuse the same history with the same expectation under two clusters: statistics would count one answer as two.

    Inside one cluster it is allowed; there cases are not taken to be independent.
    """
    content = sha256_of(case.model_dump(mode="json", exclude_none=True, include={"messages", "expectation", "tools"}))
    other = asked.setdefault(content, case)
    if other.cluster != case.cluster:
        raise FlywheelError(f"case {case.id!r} asks and expects what case {other.id!r} of another cluster does", where=where,
                            remedy="remove one of the two, or put both into one cluster")  # fmt: skip


def parse_case(line: str, where: str) -> Case:
    """One case from its JSON text; raises FlywheelError that names `where` and what to mend."""
    try:
        return case_of(decode(line.strip()), where)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else error
        raise FlywheelError(f"not valid JSON: {said}", where=where, remedy="mend or remove that line") from None


def case_of(value: Any, where: str) -> Case:
    """One case from JSON values; raises FlywheelError that names `where`, the field and what to write there."""
    try:
        return Case.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the case"
        inner = (first.get("ctx") or {}).get("error")
        remedy = getattr(inner, "remedy", "correct that field of the case")
        raise FlywheelError(f"{key}: {inner or first['msg']}", where=where, remedy=remedy) from None


def check_tools(case: Case, tools: list[dict[str, Any]], where: str) -> None:
    """Raise FlywheelError when the case names a tool that it cannot call."""
    known = set(tool_names(tools_of(case, tools)))
    expectation = case.expectation
    named: Iterable[str] = case.exercises.tools
    if expectation.kind == "call":
        named = [*named, *(call.name for call in expectation.calls)]
    elif expectation.kind == "episode":
        named = [*named, *(action.name for action in expectation.actions)]
    unknown = sorted(set(named) - known)
    if unknown:
        source = "tools.json" if case.tools is None else "the case's own tools"
        remedy = f"use a tool of {source}: {', '.join(sorted(known))}; flywheel benchmark supersede, if it was renamed"
        raise FlywheelError(f"case {case.id} names unknown tool {unknown[0]!r}", where=where, remedy=remedy)


def coverage(cases: Sequence[Case]) -> list[str]:
    """Required categories that have no case yet."""
    present = {case.category for case in cases}
    return [category for category in REQUIRED_CATEGORIES if category not in present]


def core_of(cases: Sequence[Case]) -> list[Case]:
    """The cases that decide and draw the learning curve, without the slices added later."""
    return [case for case in cases if case.slice == CORE]


def benchmark_version(cases: Sequence[Case], contract_sha256: str) -> str:
    """Hash of all cases and of the tools and response schemas they are held against (`Pack.contract_sha256`), 16 hex digits."""
    return sha256_of(
        [contract_sha256, [{k: v for k, v in case_content(case).items() if k != "origin"} for case in cases]]
    )[:16]
