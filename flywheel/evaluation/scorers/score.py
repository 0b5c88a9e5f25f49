"""What every scorer returns, and the counts all of them share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.matchers import Call
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.schema_check import check_call

# Raise this with every change of a scorer: results under another version are never compared, the baseline is re-scored.
SCORER_VERSION = "1"


class Score(NamedTuple):
    """The scores of one case: see the columns of `eval_results`."""

    success: bool
    failure_reason: str | None
    calls: int
    schema_valid_calls: int
    tool_selection: bool | None
    arguments_match: bool | None
    forbidden_calls: int


def calls_of(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All tool calls of the assistant messages, in order."""
    return [call for message in messages if message["role"] == "assistant" for call in message.get("tool_calls") or []]


def parsed(calls: Sequence[dict[str, Any]]) -> list[Call]:
    """Name and arguments of each call."""
    return [Call(c["function"]["name"], parse_arguments(c["function"]["arguments"]).value) for c in calls]


def schema_valid(calls: Sequence[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    """How many calls match their tool's schema."""
    return sum(not check_call(tools, c["function"]["name"], c["function"]["arguments"]) for c in calls)


def writes(calls: Sequence[dict[str, Any]], tools: list[dict[str, Any]]) -> int:
    """How many calls are of a tool that writes."""
    writing = {tool["function"]["name"] for tool in tools if tool.get("x-access") == "write"}
    return sum(call["function"]["name"] in writing for call in calls)
