"""Calls that break their tool's schema, and calls the server could not even parse."""

from collections.abc import Iterator

from flywheel.detectors.finding import Finding, Run
from flywheel.toolcalls.schema_check import check_arguments, check_call

_MARKS = (
    "<tool_call>",
    "</tool_call>",
    "<|tool_call>",
    "<tool_call|>",
    "functools[",
    "[TOOL_CALLS]",
    "<|function",
    "<function",
)
# The same as a regular expression that polars runs over whole columns.
MARKS = r"</?tool_call>|<\|tool_call>|<tool_call\|>|functools\[|\[TOOL_CALLS\]|<\|?function"


def invalid_calls(run: Run) -> Iterator[Finding]:
    """Every call that its schema refuses: unknown tool, unparsable or missing or wrong arguments."""
    for call in run.own_calls:
        accepts = run.toolbox.accepts.get(call.name)
        if accepts and accepts(call.arguments):
            continue
        tool = run.toolbox.by_name.get(call.name)
        errors = (
            check_arguments(tool, call.arguments) if tool else check_call(run.toolbox.tools, call.name, call.arguments)
        )
        if errors:
            first = errors[0]
            place = f" at {first.path}" if first.path else ""
            said = f"call of {call.name}: {first.message}"
            if first.kind == "unusable_schema":
                yield Finding(call.index, "infra_error", first.kind, "environment", call.name, first.kind, said, True)
            else:
                yield Finding(
                    call.index, "schema_violation", first.kind, "agent", call.name, f"{first.kind}{place}", said, True
                )


def unparsed_calls(run: Run) -> Iterator[Finding]:
    """Answers that hold the marks of a call as plain text: the model tried to call and wrote it wrong."""
    if not run.marked:
        return
    for index, message in enumerate(run.messages):
        content = message.content
        if content and message.role == "assistant" and any(mark in content for mark in _MARKS):
            said = f"the answer holds a call as text: {content[:120]!r}"
            yield Finding(index, "schema_violation", "unparsed_call", "agent", None, "unparsed_call", said, True)
