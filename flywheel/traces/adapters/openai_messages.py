"""One agent run a line: OpenAI `messages` and `tools` in an envelope.

    {"id", "conversation_id", "started_at", "ended_at", "client_id", "principal", "model", "adapter_id", "tools", "messages",
     "outcome", "feedback": {"score", "comment"}, "environment", "metadata"}

Only `id`, `messages` and `tools` must be there. Unknown fields are kept in `metadata`.
"""

import json
import math
from datetime import UTC, datetime
from typing import Any

from flywheel.toolcalls.arguments import canonical_json
from flywheel.traces.trace import Trace

_KNOWN = {"id", "conversation_id", "started_at", "ended_at", "workload_id", "client_id", "principal", "model", "adapter_id",
          "tools", "messages", "outcome", "feedback", "environment", "metadata"}  # fmt: skip
_OUTCOMES = ("success", "failure", "abandoned", "unknown")


class Refused(Exception):
    """A line that cannot become a trace: machine-readable reason, what was wrong, and what to do."""

    def __init__(self, reason_code: str, detail: str, remedy: str) -> None:
        super().__init__(f"{reason_code}: {detail}")
        self.reason_code = reason_code
        self.detail = detail
        self.remedy = remedy


def read_line(text: str) -> Trace:
    """Parse and check one line; raises Refused with the reason."""
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant,
                           parse_float=_finite)  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be stored as UTF-8
    except RecursionError:
        raise Refused("too_deep", "nested deeper than the parser allows", "flatten the record") from None
    except ValueError as error:
        raise Refused("invalid_json", str(error)[:300], "write one whole JSON object a line") from None
    if not isinstance(value, dict):
        raise Refused("not_an_object", f"the line holds a JSON {type(value).__name__}", "write one JSON object a line")
    return _trace(value)


def _trace(value: dict[str, Any]) -> Trace:
    source_id = value.get("id")
    if not isinstance(source_id, str) or not source_id:
        raise Refused("missing_id", "`id` is absent or no text", "log the run's id in `id`")
    feedback = value.get("feedback") or {}
    if not isinstance(feedback, dict):
        raise Refused(
            "invalid_feedback", "`feedback` is no object", 'write {"score": -1 to 1, "comment": text or null}'
        )
    metadata = value.get("metadata") if isinstance(value.get("metadata"), dict) else {}
    extra = {key: item for key, item in value.items() if key not in _KNOWN}
    return Trace(
        source_system=str(value.get("client_id") or "unknown"),
        source_id=source_id,
        conversation_id=str(value.get("conversation_id") or source_id),
        principal_ref=str(value["principal"]) if value.get("principal") else None,
        adapter_id=str(value.get("adapter_id") or "base"),
        request_model=str(value.get("model") or "unknown"),
        started_at=_moment(value, "started_at"),
        ended_at=_moment(value, "ended_at"),
        tools=_tools(value.get("tools")),
        messages=_messages(value.get("messages")),
        outcome_status=value["outcome"] if value.get("outcome") in _OUTCOMES else "unknown",
        feedback_score=_score(feedback.get("score")),
        feedback_comment=str(feedback["comment"]) if feedback.get("comment") else None,
        environment="simulated" if value.get("environment") == "simulated" else "production",
        metadata={**(metadata or {}), **extra},
    )


def _tools(tools: Any) -> list[dict[str, Any]]:
    usable = isinstance(tools, list) and all(
        isinstance(tool, dict)
        and isinstance(tool.get("function"), dict)
        and isinstance(tool["function"].get("name"), str)
        for tool in tools
    )
    if not usable:
        raise Refused("missing_tools", "`tools` is no list of OpenAI functions", "log the tools the model was offered")
    return tools


def _messages(messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise Refused("missing_messages", "`messages` is no list of at least one object", "log the whole conversation")
    if not any(message.get("role") == "assistant" for message in messages):
        raise Refused("no_assistant_step", "the run has no assistant message", "log the run after the model answered")
    open_calls: set[str] = set()
    return [_message(message, number, open_calls) for number, message in enumerate(messages)]


def _message(message: dict[str, Any], number: int, open_calls: set[str]) -> dict[str, Any]:
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "user", "assistant", "tool"):
        raise Refused("unknown_role", f"message {number} has role {role!r}", "use system, user, assistant or tool")
    if content is not None and not isinstance(content, str):
        raise Refused(
            "content_not_text", f"message {number} holds {type(content).__name__} content", "log text content"
        )
    if role == "assistant":
        calls = [_call(call, number) for call in message.get("tool_calls") or []]
        open_calls.update(call["id"] for call in calls)
        kept = {"role": role, "content": content}
        return {**kept, "tool_calls": calls} if calls else {**kept, "content": content or ""}
    if role == "tool":
        call_id = message.get("tool_call_id")
        if call_id not in open_calls:
            remedy = "log tool results after the call, with its tool_call_id"
            raise Refused(
                "unpaired_tool_result", f"message {number} answers call {call_id!r}, which no message made", remedy
            )
        return {"role": role, "tool_call_id": call_id, "content": content or ""}
    return {"role": role, "content": content or ""}


def _call(call: Any, number: int) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if (
        not isinstance(function, dict)
        or not isinstance(function.get("name"), str)
        or not isinstance(call.get("id"), str)
    ):
        raise Refused(
            "malformed_call", f"message {number} has a tool call without id or function.name", "log OpenAI tool calls"
        )
    arguments = function.get("arguments")
    # What the model emitted is kept as it is, valid or not; an object (NVIDIA logs) becomes its canonical text.
    raw = arguments if isinstance(arguments, str) else canonical_json(arguments if arguments is not None else {})
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": raw}}


def _moment(value: dict[str, Any], field: str) -> datetime | None:
    given = value.get(field)
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else datetime.fromtimestamp(given, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise Refused("invalid_time", f"`{field}` is {given!r}", "write ISO 8601, as in 2026-01-05T09:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _score(score: Any) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not -1 <= score <= 1:
        raise Refused("invalid_feedback", f"feedback score {score!r} is not between -1 and 1", "scale it to -1 to 1")
    return float(score)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
