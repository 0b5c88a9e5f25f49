"""What a sample of runs says, in the form the guesses ask for: every call with its arguments and its result."""

from collections import defaultdict
from functools import cached_property
from typing import Any, NamedTuple

from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.results import error_in
from flywheel.traces.trace import Trace


class SeenCall(NamedTuple):
    """One call: number of its run, index of its message, arguments (None where unreadable), result and error (None without)."""

    run: int
    index: int
    name: str
    arguments: dict[str, Any] | None
    result: str | None
    error: str | None


class Evidence:
    """A workflow's runs, and their calls by tool.

    Args:
        runs: traces of one workflow.
    """

    def __init__(self, runs: list[Trace]) -> None:
        self.runs = runs
        self.calls = [call for number, run in enumerate(runs) for call in _calls(number, run)]

    @cached_property
    def by_tool(self) -> dict[str, list[SeenCall]]:
        """Tool -> its calls, in the order of the runs."""
        found: dict[str, list[SeenCall]] = defaultdict(list)
        for call in self.calls:
            found[call.name].append(call)
        return dict(found)

    @cached_property
    def by_run(self) -> dict[int, list[SeenCall]]:
        """Run -> its calls in order."""
        found: dict[int, list[SeenCall]] = defaultdict(list)
        for call in self.calls:
            found[call.run].append(call)
        return dict(found)


def _calls(number: int, run: Trace) -> list[SeenCall]:
    results = {m.tool_call_id: (m.content or "", m.is_error) for m in run.messages if m.role == "tool"}
    found = []
    for index, message in enumerate(run.messages):
        for call in message.tool_calls or []:
            result, marked = results.get(call.id, (None, False))
            error = error_in(result, marked) if result is not None else None
            arguments = parse_arguments(call.function.arguments).value
            found.append(SeenCall(number, index, call.function.name, arguments, result, error))
    return found
