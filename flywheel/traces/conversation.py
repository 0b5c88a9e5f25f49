"""Messages, calls and tools of any chat dialect into canonical form: the one place that knows what producers write.

Handled: content as text or as parts, arguments as text or as object, calls flat or nested, the legacy `function_call`, missing
call ids (given by position), tool results by id or in order, `developer` for `system`.
"""

import json
from typing import Any

from flywheel.chat.messages import Function, Message, ToolCall
from flywheel.toolcalls.arguments import canonical_json
from flywheel.traces.refused import Refused
from flywheel.traces.trace import NOT_LOGGED, Toolset, toolset

_ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant", "ai": "assistant",
          "model": "assistant", "tool": "tool", "function": "tool"}  # fmt: skip


def tools_of(tools: Any) -> Toolset:
    """Tools as OpenAI functions; None or absent is `NOT_LOGGED`. Bare functions and JSON text are accepted too."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            tools = False
    if tools is None:
        return NOT_LOGGED
    if not isinstance(tools, list):
        raise Refused("invalid_tools", "`tools` is no list of OpenAI functions", "log the tools the model was offered")
    return toolset([_tool(tool) for tool in tools])


def _tool(tool: Any) -> dict[str, Any]:
    if isinstance(tool, str):
        try:
            tool = json.loads(tool)
        except (ValueError, RecursionError):
            tool = None
    if isinstance(tool, dict) and "function" not in tool and isinstance(tool.get("name"), str):
        schema = tool.get("parameters") or tool.get("input_schema") or tool.get("inputSchema") or {}
        tool = {"type": "function", "function": {"name": tool["name"], "description": str(tool.get("description") or ""),
                                                 "parameters": schema}}  # fmt: skip
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Refused("invalid_tools", "`tools` is no list of OpenAI functions", "log the tools the model was offered")
    return tool


def messages_of(messages: Any) -> list[Message]:
    """Canonical messages with every tool result paired to its call; raises Refused naming the message."""
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise Refused("missing_messages", "`messages` is no list of at least one object", "log the whole conversation")
    open_calls: dict[str, bool] = {}
    return [message_of(message, number, open_calls) for number, message in enumerate(messages)]


def message_of(message: dict[str, Any], number: int, open_calls: dict[str, bool]) -> Message:
    """One message; `open_calls` maps the ids of calls made so far to whether they were answered."""
    given = message.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise Refused(
            "unknown_role", f"message {number} has role {str(given)[:40]!r}", "use system, user, assistant or tool"
        )
    content = text_of(message.get("content"), number)
    if role == "assistant":
        calls = calls_of(message, number)
        for call in calls:
            open_calls[call.id] = False
        return Message(role, content if calls else content or "", calls or None)
    if role == "tool":
        call_id = _answered(message, number, open_calls)
        failed = message.get("is_error") is True or message.get("error") is True
        return Message(role, content or "", None, call_id, failed)
    return Message(role, content or "")


def calls_of(message: dict[str, Any], number: int) -> list[ToolCall]:
    """The tool calls of an assistant message."""
    calls = message.get("tool_calls") or []
    if message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, list):
        raise Refused("malformed_call", f"message {number} has `tool_calls` that are no list", "log OpenAI tool calls")
    return [_call(call, number, position) for position, call in enumerate(calls)]


def _call(call: Any, number: int, position: int) -> ToolCall:
    flat = call.get("tool_call", call) if isinstance(call, dict) else None
    function = flat.get("function", flat) if isinstance(flat, dict) else None
    name = function.get("name", flat.get("toolName")) if isinstance(function, dict) and isinstance(flat, dict) else None
    if not isinstance(flat, dict) or not isinstance(function, dict) or not isinstance(name, str):
        raise Refused("malformed_call", f"message {number} has a tool call without a name", "log OpenAI tool calls")
    arguments = next((function[key] for key in ("arguments", "args", "input") if function.get(key) is not None), {})
    # What the model emitted is kept as it is, valid or not; an object (NVIDIA, OpenTelemetry) becomes its canonical text.
    raw = arguments if isinstance(arguments, str) else canonical_json(arguments)
    given = flat.get("id") or flat.get("toolCallId")
    return ToolCall(given if isinstance(given, str) else f"call_{number}_{position}", Function(name, raw))


def _answered(message: dict[str, Any], number: int, open_calls: dict[str, bool]) -> str:
    """The id of the call a tool message answers: its own id, else the first call that has no answer yet."""
    call_id = message.get("tool_call_id") or message.get("id") or message.get("toolCallId")
    if call_id is None:
        call_id = next((known for known, answered in open_calls.items() if not answered), None)
    if not isinstance(call_id, str) or call_id not in open_calls:
        remedy = "log tool results after the call, with its tool_call_id"
        raise Refused(
            "unpaired_tool_result",
            f"message {number} answers call {str(call_id)[:60]!r}, which no message made",
            remedy,
        )
    open_calls[call_id] = True
    return call_id


def text_of(content: Any, number: int) -> str | None:
    """Text of a message: a string, or the text parts of a list; an image or sound is named, not carried."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Refused(
            "content_not_text", f"message {number} holds {type(content).__name__} content", "log text content"
        )
    return "\n".join(_part(part, number) for part in content)


def _part(part: Any, number: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for key in ("text", "content"):
            if isinstance(part.get(key), str):
                return part[key]
        if isinstance(part.get("type"), str):
            return f"[{part['type']}]"
    raise Refused("content_not_text", f"message {number} holds a part without text", "log text content")
