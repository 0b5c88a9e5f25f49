"""OpenAI chat.completions request/response logs, as a client wrapper or gateway in front of vLLM writes them.

    {"request": {"model", "messages", "tools", "user", "metadata"}, "response": {"id", "model", "choices": [{"message"}], "usage"},
     "timestamp" or "created", "duration_ms"}

The NVIDIA flywheel record is the same with `workload_id` and `client_id` beside it, arguments as objects and call ids dropped.
A streamed answer may be logged as the list of its chunks. An error body instead of a response is kept: the run ends there.
"""

from datetime import timedelta
from typing import Any

from flywheel.chat.messages import Message
from flywheel.traces.conversation import calls_of, message_of, messages_of, tools_of
from flywheel.traces.exchange import Exchange
from flywheel.traces.fields import count, moment, optional, score
from flywheel.traces.refused import Refused

FORMAT = "chat_completions"
_KNOWN = {"request", "response", "timestamp", "created", "duration_ms", "workload_id", "client_id", "tenant_id", "adapter_id",
          "conversation_id", "principal", "feedback", "environment", "outcome", "metadata", "error"}  # fmt: skip


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is of this format: `request.messages` and no workload id."""
    request = record.get("request")
    return isinstance(request, dict) and "messages" in request and not record.get("workload_id")


def exchanges(record: dict[str, Any]) -> list[Exchange]:
    """The one exchange of a record; raises Refused with the reason."""
    return [exchange_of(record, FORMAT, "chat-completions")]


def exchange_of(record: dict[str, Any], source_format: str, system: str) -> Exchange:
    """A request/response record as an exchange."""
    request, response = record.get("request"), record.get("response")
    if not isinstance(request, dict):
        raise Refused("missing_request", "`request` is no object", "log the request's body in `request`")
    messages = messages_of(request.get("messages"))
    answer, error = _answer(response, record.get("error"), messages)
    body = response if isinstance(response, dict) else {}
    when = record.get("timestamp", record.get("created", body.get("created")))
    started = moment({"timestamp": when}, "timestamp")
    took = record.get("duration_ms")
    ended = (
        started + timedelta(milliseconds=took)
        if started and isinstance(took, int | float) and 0 <= took < 1e9
        else None
    )
    extra = {key: value for key, value in record.items() if key not in _KNOWN}
    given = request.get("metadata") if isinstance(request.get("metadata"), dict) else {}
    metadata = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    told = {**given, **metadata}  # type: ignore[dict-item]
    feedback = record.get("feedback") if isinstance(record.get("feedback"), dict) else {}
    model = str(request.get("model") or body.get("model") or "unknown")
    return Exchange(
        source_system=str(record.get("client_id") or system),
        source_format=source_format,
        exchange_id=body["id"] if isinstance(body.get("id"), str) and body["id"] else None,
        request=messages,
        answer=answer,
        error=error,
        tools=tools_of(request.get("tools") or (request.get("functions"))),
        conversation_id=optional(record, "conversation_id") or optional(told, "conversation_id") or optional(told, "session_id"),
        principal=optional(record, "principal") or optional(request, "user") or optional(told, "user_id"),
        tenant_id=optional(record, "tenant_id") or optional(told, "tenant_id"),
        workload_id=optional(record, "workload_id"),
        request_model=model,
        response_model=optional(body, "model"),
        adapter_id=str(record.get("adapter_id") or told.get("adapter_id") or "base"),
        started_at=started,
        ended_at=ended,
        input_tokens=count(body.get("usage"), "prompt_tokens", "input_tokens"),
        output_tokens=count(body.get("usage"), "completion_tokens", "output_tokens"),
        outcome_status=str(record["outcome"]) if record.get("outcome") in ("success", "failure", "abandoned") else "unknown",
        feedback_score=score(feedback.get("score")),  # type: ignore[union-attr]
        feedback_comment=optional(feedback, "comment"),  # type: ignore[arg-type]
        environment="simulated" if record.get("environment") == "simulated" else "production",
        metadata={**told, **extra},
    )  # fmt: skip


def _answer(response: Any, error: Any, request: list[Message]) -> tuple[Message | None, str | None]:
    """The answer, or why there is none; Refused when the record holds neither."""
    if isinstance(response, list):
        response = _from_chunks(response)
    if isinstance(response, dict) and isinstance(response.get("choices"), list) and response["choices"]:
        choice = response["choices"][0]
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise Refused("missing_answer", "`response.choices[0].message` is no object", "log the response's body")
        return message_of({**message, "role": "assistant"}, len(request), {}), None
    failed = error or (response.get("error") if isinstance(response, dict) else None)
    if failed:
        return None, str(failed.get("message") or failed if isinstance(failed, dict) else failed)[:200]
    raise Refused(
        "missing_answer", "`response` has neither choices nor an error", "log the response's body in `response`"
    )


def _from_chunks(chunks: list[Any]) -> dict[str, Any]:
    """A streamed answer put together: text parts joined, call arguments appended by index."""
    content: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    for chunk in chunks:
        if not isinstance(chunk, dict):
            raise Refused("malformed_stream", "a streamed chunk is no object", "log the chunks as they arrived")
        head = {**head, **{key: chunk[key] for key in ("id", "model", "created", "usage") if chunk.get(key)}}
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            if isinstance(delta.get("content"), str):
                content.append(delta["content"])
            for part in delta.get("tool_calls") or []:
                _append_call(calls, part)
    message = {
        "role": "assistant",
        "content": "".join(content) or None,
        "tool_calls": [calls[i] for i in sorted(calls)],
    }
    calls_of(message, 0)
    return {**head, "choices": [{"message": message}]}


def _append_call(calls: dict[int, dict[str, Any]], part: Any) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("index", 0), int):
        raise Refused("malformed_stream", "a streamed call is no object", "log the chunks as they arrived")
    call = calls.setdefault(
        part.get("index", 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = part.get("id") or call["id"]
    function = part.get("function") if isinstance(part.get("function"), dict) else {}
    call["function"]["name"] += str(function.get("name") or "")  # type: ignore[union-attr]
    call["function"]["arguments"] += str(function.get("arguments") or "")  # type: ignore[union-attr]
