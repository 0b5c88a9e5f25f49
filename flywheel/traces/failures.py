"""Tool results that the pack knows to be failures, marked as such when they come in.

`x-error-results` beside a function of tools.json lists texts of its results that mean it failed; case does not matter.
"""

import re
from collections.abc import Sequence
from typing import Any

from flywheel.chat.messages import Message

ErrorResults = tuple[tuple[str, tuple[str, ...]], ...]


def error_results(tools: Sequence[dict[str, Any]]) -> ErrorResults:
    """Tool -> the texts of its failures, of the tools that declare any; an empty text would mark every result and is left out."""
    return tuple(
        (tool["function"]["name"], tuple(filter(None, tool["x-error-results"])))
        for tool in tools
        if tool.get("x-error-results")
    )


class FailureMarker:
    """Marks results as failed (`is_error`), in place."""

    def __init__(self, declared: ErrorResults) -> None:
        self._patterns = {name: re.compile("|".join(map(re.escape, texts)), re.I) for name, texts in declared if texts}

    def __call__(self, messages: list[Message]) -> None:
        """Mark the results of one run."""
        if not self._patterns:
            return
        called: dict[str, str] = {}
        for message in messages:
            for call in message.tool_calls or []:
                called[call.id] = call.function.name
            pattern = self._patterns.get(called.get(message.tool_call_id or "", "")) if message.role == "tool" else None
            if pattern is not None and pattern.search(message.content or ""):
                message.is_error = True
