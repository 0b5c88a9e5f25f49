"""Length: a history too long for training is shortened message by message, as the agent shortens it in production.

A target is never cut, and neither are the system prompt and the last user message. What does not fit then is left out under
`too_long` and counted; trl's default would cut the row's end, and the lesson with it (notes/training-and-serving.md, 1.3).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from flywheel.datasets.steps import Message

# none: the agent keeps its whole history. elide_tool_results: oldest tool results become ELIDED first.
# drop_oldest_turns: oldest turns (a user message and all that answers it) go first, as a sliding window does.
ContextPolicy = Literal["none", "elide_tool_results", "drop_oldest_turns"]
ELIDED = "[elided]"


class Shortened(NamedTuple):
    """A history that fits, and how many messages were elided or dropped; `history` is None when it cannot be made to fit."""

    history: list[Message] | None
    elided: int


def shorten(history: list[Message], fits: Callable[[list[Message]], bool], policy: ContextPolicy) -> Shortened:
    """The history as the agent would see it within its limit, shortened by as few messages as will do."""
    if fits(history):
        return Shortened(history, 0)
    if policy == "elide_tool_results":
        return _elide(history, fits)
    if policy == "drop_oldest_turns":
        return _drop_turns(history, fits)
    return Shortened(None, 0)


def _elide(history: list[Message], fits: Callable[[list[Message]], bool]) -> Shortened:
    shorter, elided = list(history), 0
    for index, message in enumerate(history):
        if message["role"] == "tool" and message.get("content") != ELIDED:
            shorter[index] = {**message, "content": ELIDED}
            elided += 1
            if fits(shorter):
                return Shortened(shorter, elided)
    return Shortened(None, elided)


def _drop_turns(history: list[Message], fits: Callable[[list[Message]], bool]) -> Shortened:
    kept = [message for message in history if message["role"] == "system"]
    rest = [message for message in history if message["role"] != "system"]
    starts = [index for index, message in enumerate(rest) if message["role"] == "user"]
    for start in starts[1:]:
        if fits([*kept, *rest[start:]]):
            return Shortened([*kept, *rest[start:]], start)
    return Shortened(None, 0)
