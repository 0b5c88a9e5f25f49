"""The cells of the plan: what a demonstration shows, by category and by the tool that decides it.

A run stands in one cell, so cells add up. Its category is that of the benchmark: recovery where the agent goes on after a tool failed,
multi_step where it calls in several steps, tool_calling where it calls in one, refusal where it answers in words and calls nothing. Its
tool is the last one it called that writes, else the last one it called.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.cases import REQUIRED_CATEGORIES, Case
from flywheel.toolcalls.results import tool_error

CATEGORIES = REQUIRED_CATEGORIES


class Cell(NamedTuple):
    """One cell: a category of the benchmark, and the deciding tool; empty where nothing is called."""

    category: str
    tool: str


def cell_of_run(messages: Sequence[Mapping[str, Any]], trains_from: int, writing: Collection[str]) -> Cell:
    """The cell of a demonstrated run; only steps from `trains_from` on are shown, what stands before was given."""
    steps = [called(message) for message in messages[trains_from:] if message["role"] == "assistant"]
    tools = [name for step in steps for name in step]
    last = max((at for at, one in enumerate(messages) if one["role"] == "assistant"), default=-1)
    failed = any(one["role"] == "tool" and tool_error(dict(one)) for one in messages[:last])
    if failed and last >= trains_from:
        return Cell("recovery", _deciding(tools, writing))
    if not tools:
        return Cell("refusal", "")
    return Cell("multi_step" if sum(map(bool, steps)) > 1 else "tool_calling", _deciding(tools, writing))


def cell_of_case(case: Case, writing: Collection[str]) -> Cell:
    """The cell of a benchmark case: its category, and the deciding one of the tools it exercises."""
    return Cell(case.category, "" if case.category == "refusal" else _deciding(case.exercises.tools, writing))


def changes_state(messages: Sequence[Mapping[str, Any]], trains_from: int, writing: Collection[str]) -> bool:
    """Whether a step that is shown calls a tool that writes."""
    return any(name in writing for message in messages[trains_from:] for name in called(message))


def called(message: Mapping[str, Any]) -> list[str]:
    """Names of the tools a message calls."""
    return [call["function"]["name"] for call in message.get("tool_calls") or []]


def _deciding(tools: Sequence[str], writing: Collection[str]) -> str:
    wrote = [name for name in tools if name in writing]
    return (wrote or list(tools) or [""])[-1]
