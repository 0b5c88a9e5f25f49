"""Calls that break their tool's schema, and calls the server could not even parse."""

from collections.abc import Iterator

from flywheel.failures.finding import Finding, Run
from flywheel.toolcalls.schema_check import check_call

_MARKS = ("<tool_call>", "</tool_call>", "functools[", "[TOOL_CALLS]")


def invalid_calls(run: Run) -> Iterator[Finding]:
    """Every call that its schema refuses: unknown tool, unparsable or missing or wrong arguments."""
    for index, message in enumerate(run.messages):
        for call in message.get("tool_calls") or [] if message["role"] == "assistant" else []:
            name = call["function"]["name"]
            errors = check_call(run.tools, name, call["function"]["arguments"])
            if errors:
                first = errors[0]
                place = f" at {first.path}" if first.path else ""
                said = f"call of {name}: {first.message}"
                bucket, fault = (
                    ("infra_error", "environment") if first.kind == "unusable_schema" else ("schema_violation", "agent")
                )
                yield Finding(index, bucket, first.kind, fault, name, f"{first.kind}{place}", said)


def unparsed_calls(run: Run) -> Iterator[Finding]:
    """Answers that hold the marks of a call as plain text: the model tried to call and wrote it wrong."""
    for index, message in enumerate(run.messages):
        content = str(message.get("content") or "")
        if message["role"] == "assistant" and any(mark in content for mark in _MARKS):
            said = f"the answer holds a call as text: {content[:120]!r}"
            yield Finding(index, "schema_violation", "unparsed_call", "agent", None, "unparsed_call", said)
