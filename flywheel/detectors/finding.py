"""What a detector sees and what it reports, and the vocabulary it reports in."""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from flywheel.chat.messages import ToolCall, messages_from_json
from flywheel.toolcalls.results import error_in
from flywheel.toolcalls.schema_check import acceptor
from flywheel.toolcalls.structured_answers import ResponseSchema, response_for

# First match wins where two findings stand on the same step (notes/evaluation.md, R2).
BUCKETS = (
    "schema_violation",
    "wrong_tool_selection",
    "wrong_arguments",
    "bad_recovery",
    "refusal_error",
    "policy_violation",
    "misread_tool_output",
    "premature_termination",
    "infra_error",
)
FAULTS = ("agent", "user", "environment", "grader", "inconclusive")

# Errors of the world, not of the call: trying again later is right, and nobody learns from them.
_TRANSIENT = re.compile(
    r"rate.?limit|too many requests|\b429\b|time.?d? ?out|timeout|unavailable|overloaded|\b50[0234]\b|connection|temporar|internal.?server|try again later",
    re.I,
)


class Finding(NamedTuple):
    """One thing a detector saw.

    Attributes:
        message_index: the assistant step concerned.
        bucket, sub_kind: what went wrong.
        fault: whose fault; only `agent` may enter training.
        tool: tool concerned, None where no call was made.
        error: first error in a normalised form, the third part of the failure cluster.
        evidence: one sentence a person can check.
        certain: a fact, which no label of success overrules; the rest are signs.
    """

    message_index: int
    bucket: str
    sub_kind: str
    fault: str
    tool: str | None
    error: str
    evidence: str
    certain: bool = False


class Call(NamedTuple):
    """One tool call with what became of it: where its result stands (None without one) and the error it reports."""

    index: int
    call_id: str
    name: str
    arguments: str
    answered: int | None
    error: str | None
    injected: bool

    @property
    def transient(self) -> bool:
        """The error is the environment's: a rate limit, a time-out, a server that is down."""
        return self.error is not None and _TRANSIENT.search(self.error) is not None


class Answer(NamedTuple):
    """One answer that must be structured: its assistant step, the schema it must have, and its text."""

    index: int
    response: ResponseSchema
    content: str


class Rules(NamedTuple):
    """What a pack says about judging its runs.

    Attributes:
        tools: the pack's tools; their `x-` keys hold for tools of the same name in every trace.
        injected_tools, injected_prefixes, injected_texts: how calls of the harness are told, see `Scaffold`.
        responses: schemas that answers must have.
    """

    tools: Sequence[dict[str, Any]] = ()
    injected_tools: frozenset[str] = frozenset()
    injected_prefixes: tuple[str, ...] = ()
    injected_texts: tuple[str, ...] = ()
    responses: tuple[ResponseSchema, ...] = ()

    @property
    def any_injected(self) -> bool:
        """Whether the pack declares calls of the harness at all."""
        return bool(self.injected_tools or self.injected_prefixes or self.injected_texts)

    def injected(self, call_id: str, name: str, arguments: str) -> bool:
        """Whether the harness made this call."""
        return (
            name in self.injected_tools
            or (bool(self.injected_prefixes) and call_id.startswith(self.injected_prefixes))
            or any(text in arguments for text in self.injected_texts)
        )


class Toolbox:
    """A run's tools prepared for judging: with the pack's `x-` keys, and what follows from them. One a toolset, not a run."""

    def __init__(self, tools: Sequence[dict[str, Any]], rules: Rules) -> None:
        known = {tool["function"]["name"]: tool for tool in rules.tools}
        self.tools = [
            {
                **{
                    key: value for key, value in known.get(tool["function"]["name"], {}).items() if key.startswith("x-")
                },
                **tool,
            }
            for tool in tools
        ]
        self.by_name = {tool["function"]["name"]: tool for tool in self.tools}
        self.accepts = {name: acceptor(tool) for name, tool in self.by_name.items()}
        self.responses = rules.responses
        self.described = str([*self.tools, *(one.as_tool for one in rules.responses)]).casefold()
        self.writing = {tool["function"]["name"] for tool in self.tools if tool.get("x-access") == "write"}
        self.needs = {
            tool["function"]["name"]: set(tool["x-forbidden-without"])
            for tool in self.tools
            if tool.get("x-forbidden-without")
        }


class Run:
    """A trace as detectors see it.

    Args:
        trace: `production_traces` row; `hinted`, `marked` and `unfinished` where triage looked at its whole column already (see `triage.py`).
        toolbox: its tools.
        rules: the pack's.
    """

    def __init__(self, trace: dict[str, Any], toolbox: Toolbox, rules: Rules) -> None:
        self.text: str = trace["messages"]
        self.messages = messages_from_json(self.text)
        self.toolbox = toolbox
        self.outcome_status: str = trace["outcome_status"]
        self.reward: float | None = trace.get("reward")
        self.feedback_score: float | None = trace["feedback_score"]
        self._expected: str | None = trace.get("expected_actions")
        self._metadata: str = trace.get("metadata") or "{}"
        self.hinted: bool = trace.get("hinted", True)
        self.marked: bool = trace.get("marked", True)
        self.unfinished: bool = trace.get("unfinished", True)
        self._tool_errors: int | None = trace.get("tool_errors")
        self.user_turns = 0
        self.labelled = self.outcome_status != "unknown" or self.reward is not None or self.feedback_score is not None
        self.calls = self._calls(rules)
        self.own_calls = [call for call in self.calls if not call.injected] if rules.any_injected else self.calls
        self.failed_calls = [call for call in self.own_calls if call.error is not None]

    def _calls(self, rules: Rules) -> list[Call]:
        results: dict[str | None, tuple[int, str | None]] = {}
        errors = self._tool_errors != 0  # none were counted when the run was read: no result is looked at again
        made: list[tuple[int, ToolCall]] = []
        for index, message in enumerate(self.messages):
            role = message.role
            if role == "tool":
                if message.tool_call_id not in results:
                    error = error_in(message.content or "", message.is_error) if errors else None
                    results[message.tool_call_id] = (index, error)
            elif role == "user":
                self.user_turns += 1
            elif message.tool_calls:
                for call in message.tool_calls:
                    made.append((index, call))
        declared = rules.any_injected
        calls = []
        for index, call in made:
            function = call.function
            answered, error = results.get(call.id, (None, None))
            injected = declared and rules.injected(call.id, function.name, function.arguments)
            calls.append(Call(index, call.id, function.name, function.arguments, answered, error, injected))
        return calls

    @cached_property
    def answers(self) -> list[Answer]:
        """The answers that the pack wants structured; a schema that follows tools asks for calls since the user's last turn."""
        found: list[Answer] = []
        called: set[str] = set()
        if not self.toolbox.responses:
            return found
        for index, message in enumerate(self.messages):
            if message.role == "user":
                called.clear()
            elif message.tool_calls:
                called.update(call.function.name for call in message.tool_calls)
            elif message.role == "assistant" and (response := response_for(self.toolbox.responses, called)):
                found.append(Answer(index, response, message.content or ""))
        return found

    @cached_property
    def expected_actions(self) -> list[dict[str, Any]] | None:
        """Gold actions, where the source has them."""
        return json.loads(self._expected) if self._expected else None

    @cached_property
    def model_error(self) -> str | None:
        """Why the model gave no last answer, where the log says so."""
        if '"error"' not in self._metadata:
            return None
        found = json.loads(self._metadata).get("error")
        return str(found)[:120] if found else None

    @property
    def ends_well(self) -> bool | None:
        """What labels say of the outcome: True, False, or None where there is no label or they contradict each other."""
        if self.outcome_status in ("success", "failure"):
            return self.outcome_status == "success"
        return None if self.reward is None else self.reward >= 1

    def assistant_before(self, index: int) -> int | None:
        """Index of the last assistant message before `index`, or None."""
        return next((i for i in range(index - 1, -1, -1) if self.messages[i].role == "assistant"), None)

    def last_assistant(self) -> int:
        """Index of the last assistant message."""
        found = self.assistant_before(len(self.messages))
        return 0 if found is None else found

    def first_assistant(self) -> int:
        """Index of the first assistant message."""
        return next((i for i, message in enumerate(self.messages) if message.role == "assistant"), 0)
