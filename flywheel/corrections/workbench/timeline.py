"""A run as a timeline of steps: what the pages show on the left. Values only; how they look is the template's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.corrections.proposal import Message
from flywheel.toolcalls.results import tool_error
from flywheel.toolcalls.schema_check import check_call


class ShownCall(NamedTuple):
    """One call of a step: its tool, its arguments as the model wrote them, and what the schema says to them."""

    name: str
    arguments: Any
    problems: tuple[str, ...]


class ShownStep(NamedTuple):
    """One message.

    Attributes:
        index: in the run.
        error: what a tool's result reports as an error, or None.
        suspected: triage suspects it.
        origin: where a message of a correction came from; empty for the run's own.
    """

    index: int
    role: str
    content: str
    calls: tuple[ShownCall, ...]
    error: str | None
    suspected: bool
    origin: str


def shown_steps(
    messages: Sequence[Message],
    tools: list[dict[str, Any]],
    *,
    suspected: int | None = None,
    origins: Sequence[str] = (),
    first: int = 0,
) -> list[ShownStep]:
    """The messages from `first` on as they are shown.

    Args:
        origins: where the messages from `first` on came from.
    """
    shown = []
    for index, message in enumerate(messages[first:], first):
        calls = tuple(
            ShownCall(
                call["function"]["name"], call["function"]["arguments"],
                tuple(error.message for error in check_call(tools, call["function"]["name"], call["function"]["arguments"])),
            )
            for call in message.get("tool_calls") or []
        )  # fmt: skip
        error = tool_error(message) if message["role"] == "tool" else None
        origin = origins[index - first] if index - first < len(origins) else ""
        shown.append(ShownStep(index, message["role"], str(message.get("content") or ""), calls, error, index == suspected, origin))  # fmt: skip
    return shown
