"""What every scorer returns, and the counts all of them share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.matchers import Call
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.results import tool_error
from flywheel.toolcalls.schema_check import check_call, tool_names

# Raise this with every change of a scorer: results under another version are never compared, stored outputs are scored again.
SCORER_VERSION = "4"


class Score(NamedTuple):
    """The verdict on one case.

    Attributes:
        success: did the case succeed as a whole.
        reason: the first reason if not.
        tool_selection: right tools in the right number; None where no call is expected.
        arguments_match: right arguments too; None where no call is expected.
        expected_calls, compared_calls, matched_calls: calls expected, calls made that are held against them, and how many pair up.
        forbidden_calls: writes made where the case allows none.
        expects_call: whether a call is right (True), none is (False), or either may be (None).
        bfcl_compat: BFCL's verdict on the calls; None where it has none.
        trajectory: agentevals' four modes; None where no call is expected.
    """

    success: bool
    reason: str | None
    tool_selection: bool | None
    arguments_match: bool | None
    expected_calls: int
    compared_calls: int
    matched_calls: int
    forbidden_calls: int
    expects_call: bool | None
    bfcl_compat: bool | None = None
    trajectory: dict[str, bool] | None = None


class Counts(NamedTuple):
    """What is counted in a run whatever the case expects; see the columns of `eval_results`."""

    calls: int
    schema_valid_calls: int
    unknown_tool_calls: int
    tool_errors: int


def counts(history: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]], tools: list[dict[str, Any]]) -> Counts:
    """Calls of the model's own messages; tool errors also of the history it was shown."""
    made, known = calls_of(own), set(tool_names(tools))
    valid = sum(not check_call(tools, c["function"]["name"], c["function"]["arguments"]) for c in made)
    unknown = sum(call["function"]["name"] not in known for call in made)
    errors = sum(tool_error(message) is not None for message in [*history, *own] if message["role"] == "tool")
    return Counts(len(made), valid, unknown, errors)


def calls_of(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All tool calls of the assistant messages, in order."""
    return [call for message in messages if message["role"] == "assistant" for call in message.get("tool_calls") or []]


def parsed(calls: Sequence[dict[str, Any]]) -> list[Call]:
    """Name and arguments of each call."""
    return [Call(c["function"]["name"], parse_arguments(c["function"]["arguments"]).value) for c in calls]


def writing_tools(tools: list[dict[str, Any]]) -> set[str]:
    """Names of the tools that change something."""
    return {tool["function"]["name"] for tool in tools if tool.get("x-access") == "write"}


def writes(calls: Sequence[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    """How many calls are of a tool that writes."""
    writing = writing_tools(tools)
    return sum(call["function"]["name"] in writing for call in calls)
