"""OpenInference spans (Phoenix, Arize): flattened attributes such as `llm.input_messages.0.message.tool_calls.0.tool_call.id`."""

from typing import Any

from flywheel.traces.adapters.otel_genai import exchange_of
from flywheel.traces.adapters.spans import flat_attributes, is_span, nested, parts, span_of
from flywheel.traces.conversation import messages_of, tools_of
from flywheel.traces.exchange import Exchange
from flywheel.traces.refused import Refused

__all__ = ["FORMAT", "exchanges", "parts", "recognises"]
FORMAT = "openinference"


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is an OpenInference span, or an OTLP batch that begins with one."""
    if not is_span(record):
        return False
    try:
        first = parts(record)[:20]
    except Refused:
        return False
    return any("openinference.span.kind" in flat_attributes(one.get("attributes")) for one in first)


def exchanges(part: dict[str, Any]) -> list[Exchange]:
    """The exchange of an LLM span, nothing for other kinds; raises Refused where the messages are not there."""
    span = span_of(part)
    if span is None or str(span.attributes.get("openinference.span.kind")).upper() != "LLM":
        return []
    request = [_message(one) for one in nested(span.attributes, "llm.input_messages") or []]
    said = [{**_message(one), "role": "assistant"} for one in nested(span.attributes, "llm.output_messages") or []]
    if not request or not (said or span.error):
        remedy = "do not hide inputs and outputs in the instrumentation (OPENINFERENCE_HIDE_INPUTS and _OUTPUTS unset)"
        raise Refused("content_not_captured", "the LLM span carries no messages", remedy)
    tools = [
        one.get("tool", {}).get("json_schema")
        for one in nested(span.attributes, "llm.tools") or []
        if isinstance(one, dict)
    ]
    return [exchange_of(span, FORMAT, messages_of(request), said, tools_of(tools or None))]


def _message(one: Any) -> dict[str, Any]:
    message = one.get("message", one) if isinstance(one, dict) else None
    if not isinstance(message, dict):
        raise Refused("malformed_message", "a message is no object", "log messages as OpenInference has them")
    contents = message.get("contents")
    if message.get("content") is None and isinstance(contents, list):
        texts = [part.get("message_content", {}) for part in contents if isinstance(part, dict)]
        message = {
            **message,
            "content": "\n".join(str(text.get("text") or "") for text in texts if isinstance(text, dict)),
        }
    calls = [
        call.get("tool_call", call) if isinstance(call, dict) else call for call in message.get("tool_calls") or []
    ]
    return {**message, "tool_calls": calls}
