"""What the agent did after a tool reported an error."""

import re
from collections.abc import Iterator

from flywheel.failures.finding import Finding, Run
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.results import tool_error

_SUCCESS = re.compile(
    r"\b(done|has been|have been|is now|was (?:cancel|refund|updat|chang)\w*|successfully|i(?:'ve| have) \w+ed)\b", re.I
)
_ADMITS = re.compile(
    r"\b(not|n't|cannot|unable|sorry|could you|can you|which|what is|please|instead|person|ticket|colleague)\b", re.I
)


def _call_of(run: Run, call_id: str) -> tuple[int, str, str] | None:
    """Message index, tool name and canonical arguments of a call id."""
    for index, message in enumerate(run.messages):
        for call in message.get("tool_calls") or []:
            if call["id"] == call_id:
                arguments = call["function"]["arguments"]
                parsed = parse_arguments(arguments).value
                return index, call["function"]["name"], arguments if parsed is None else canonical_json(parsed)
    return None


def _errors(run: Run) -> Iterator[tuple[int, str, str, str]]:
    """Tool message index, error code, tool name and arguments of every failed call."""
    for index, message in enumerate(run.messages):
        code = tool_error(message) if message["role"] == "tool" else None
        call = _call_of(run, message["tool_call_id"]) if code else None
        if code and call:
            yield index, code, call[1], call[2]


def repeated_call(run: Run) -> Iterator[Finding]:
    """The same call with the same arguments again after it failed; a rate limit may be tried again."""
    failed: set[tuple[str, str]] = set()
    codes = {index: code for index, code, _, _ in _errors(run)}
    by_id = {
        message.get("tool_call_id"): index for index, message in enumerate(run.messages) if message["role"] == "tool"
    }
    for index, message in enumerate(run.messages):
        for call in message.get("tool_calls") or []:
            found = _call_of(run, call["id"])
            key = (call["function"]["name"], found[2] if found else "")
            if key in failed:
                said = f"called {key[0]} again with the same arguments after it failed"
                yield Finding(index, "bad_recovery", "repeated_identical_call", "agent", key[0], "repeated", said)
            code = codes.get(by_id.get(call["id"], -1))
            if code and "RATE" not in code.upper():
                failed.add(key)


def claimed_success_after_error(run: Run) -> Iterator[Finding]:
    """A silent failure: the last thing a tool said was an error, and the next answer claims success."""
    for index, code, name, _ in _errors(run):
        following = run.messages[index + 1] if index + 1 < len(run.messages) else None
        if not following or following["role"] != "assistant" or following.get("tool_calls"):
            continue
        content = str(following.get("content") or "")
        if _SUCCESS.search(content) and not _ADMITS.search(content):
            said = f"{name} reported {code}, and the answer claims success: {content[:100]!r}"
            yield Finding(index + 1, "bad_recovery", "false_success_claim", "agent", name, code, said)


def unresolved_error(run: Run) -> Iterator[Finding]:
    """The run ends after a tool error with neither another attempt nor words that admit it."""
    for index, code, name, _ in _errors(run):
        rest = run.messages[index + 1 :]
        if any(message.get("tool_calls") for message in rest):
            continue
        answers = [str(message.get("content") or "") for message in rest if message["role"] == "assistant"]
        if not answers:
            fault = "environment" if "RATE" in code.upper() else "agent"
            bucket = "premature_termination" if fault == "agent" else "infra_error"
            step = run.assistant_before(index)
            yield Finding(
                step or 0, bucket, "gave_up", fault, name, code, f"the run ends right after {name} reported {code}"
            )
        elif not any(_ADMITS.search(answer) for answer in answers):
            said = f"{name} reported {code}; no later answer deals with it"
            yield Finding(index + 1, "bad_recovery", "unresolved", "agent", name, code, said)
