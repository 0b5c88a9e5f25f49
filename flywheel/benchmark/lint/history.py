"""The history of a case: is it a conversation that the template can render, and one that ends where the model is to go on?"""

from typing import Any

from flywheel.benchmark.cases import Case, tools_of
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.toolcalls.schema_check import tool_names

_ROLES = ("user", "assistant", "tool")


def history_findings(case: Case, pack_tools: list[dict[str, Any]]) -> Findings:
    """What is wrong with a case's messages; the first thing only, because what follows depends on it."""
    known = set(tool_names(tools_of(case, pack_tools)))
    open_calls: list[str] = []
    for place, message in enumerate(case.messages):
        said = _shape(message)
        if said is None and message["role"] != "tool" and open_calls:
            said = f"comes before call {open_calls[0]!r} is answered"
        if said is None and message["role"] == "tool":
            answered = str(message.get("tool_call_id"))
            if answered not in open_calls:
                said = f"answers call {answered!r}, which nobody made"
            else:
                open_calls.remove(answered)
        if said is not None:
            yield Finding("error", "history", case.id, f"message {place} {said}", "correct the history of the case")
            return
        for call in message.get("tool_calls") or []:
            open_calls.append(str(call["id"]))
            if call["function"]["name"] not in known:
                yield Finding("warning", "history", case.id, f"message {place} calls {call['function']['name']!r}, which is no tool",
                              "leave it if the case is about recovering from it")  # fmt: skip
    if open_calls:
        yield Finding("error", "history", case.id, f"call {open_calls[0]!r} is not answered", "add its tool message")
    elif case.messages[-1]["role"] == "assistant":
        yield Finding("error", "history", case.id, "the history ends with the assistant, so it has nothing to answer",
                      "cut the last message, or add what the customer says next")  # fmt: skip


def _shape(message: dict[str, Any]) -> str | None:
    role, calls = message.get("role"), message.get("tool_calls")
    if role == "system":
        return "is a system prompt; the pack's system.md is used"
    if role not in _ROLES:
        return f"has the role {role!r}; use {', '.join(_ROLES)}"
    if not isinstance(message.get("content"), str | None):
        return "has a content that is no text"
    # A tool may well answer with an empty text; that it answered is said by its content being there.
    if (role == "user" and not message.get("content")) or (role == "tool" and message.get("content") is None):
        return "says nothing"
    if calls is None:
        return None
    if role != "assistant" or not isinstance(calls, list):
        return "has tool_calls that are no list of an assistant's calls"
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or "arguments" not in function:
            return "has a call without function.name and function.arguments"
        if not isinstance(call.get("id"), str):
            return "has a call without an id"
    return None
