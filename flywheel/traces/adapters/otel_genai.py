"""OpenTelemetry GenAI spans, three generations of conventions, and the AI SDK's dialect of them.

1. up to 1.27: `gen_ai.prompt` and `gen_ai.completion` as JSON in attributes or events, or numbered (`gen_ai.prompt.0.role`);
2. 1.28 to 1.36: events `gen_ai.system.message`, `.user.message`, `.assistant.message`, `.tool.message`, `gen_ai.choice`, on the
   span or as OTLP logs;
3. from 1.37: `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions`, `gen_ai.tool.definitions`, with parts;
AI SDK: `ai.prompt.messages`, `ai.response.text`, `ai.response.toolCalls`, `ai.prompt.tools`.
"""

import json
from typing import Any

from flywheel.toolcalls.arguments import canonical_json
from flywheel.traces.adapters.spans import Span, is_span, nested, parts, span_of
from flywheel.traces.conversation import message_of, messages_of, tools_of
from flywheel.traces.exchange import Exchange
from flywheel.traces.fields import count, optional
from flywheel.traces.refused import Refused
from flywheel.traces.trace import Signal

__all__ = ["FORMAT", "exchanges", "parts", "recognises"]
FORMAT = "otel_genai"
_REMEDY = "switch content capture on in the instrumentation (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true)"
_CHAT = ("chat", "text_completion", "generate_content")
_EVENT_ROLES = {"gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant",
                "gen_ai.tool.message": "tool"}  # fmt: skip


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a span or an OTLP batch; OpenInference is asked before."""
    return is_span(record)


def exchanges(part: dict[str, Any]) -> list[Exchange]:
    """The exchange of a model-call span, nothing for other spans; raises Refused where the messages were not captured."""
    span = span_of(part)
    if span is None:
        return []
    request, answer = _messages(span)
    if request is None:
        if span.attributes.get("gen_ai.operation.name") in _CHAT:
            raise Refused("content_not_captured", "the model-call span carries no messages", _REMEDY)
        return []
    messages = messages_of([one for message in request for one in expand(message)])
    said = [one for message in answer or [] for one in expand({"role": "assistant", **message})]
    if not said and not span.error:
        raise Refused("missing_answer", "the model-call span carries no answer", _REMEDY)
    return [exchange_of(span, FORMAT, messages, said, tools_of(_tools(span)))]


def exchange_of(span: Span, source_format: str, messages: Any, said: list[dict[str, Any]], tools: Any) -> Exchange:
    """A model-call span as an exchange; `said` is the answer in OpenAI form."""
    a = span.attributes
    usage = {"input": a.get("gen_ai.usage.input_tokens", a.get("gen_ai.usage.prompt_tokens", a.get("llm.token_count.prompt"))),
             "output": a.get("gen_ai.usage.output_tokens", a.get("gen_ai.usage.completion_tokens",
                                                                 a.get("llm.token_count.completion")))}  # fmt: skip
    model = a.get("gen_ai.request.model") or a.get("llm.model_name") or a.get("gen_ai.response.model") or "unknown"
    return Exchange(
        source_system=str(span.resource.get("service.name") or a.get("resource.name") or "opentelemetry"),
        source_format=source_format,
        exchange_id=span.span_id or None,
        run_id=span.trace_id,
        request=messages,
        answer=message_of(said[0], len(messages), {}) if said else None,
        error=span.error if not said else None,
        tools=tools,
        conversation_id=optional(a, "gen_ai.conversation.id") or optional(a, "session.id"),
        principal=optional(a, "enduser.id") or optional(a, "user.id"),
        tenant_id=optional(a, "tenant.id"),
        agent_name=optional(a, "gen_ai.agent.name"),
        provider_name=optional(a, "gen_ai.provider.name")
        or optional(a, "gen_ai.system")
        or optional(a, "llm.provider"),
        request_model=str(model),
        response_model=optional(a, "gen_ai.response.model"),
        adapter_id=str(a.get("flywheel.adapter_id") or "base"),
        started_at=span.started_at,
        ended_at=span.ended_at,
        input_tokens=count(usage, "input"),
        output_tokens=count(usage, "output"),
        signals=_signals(span),
        metadata={"span_name": span.name} if span.name else {},
    )


def expand(message: Any) -> list[dict[str, Any]]:
    """A message with parts (OpenTelemetry or AI SDK) as OpenAI messages; one with plain text stays as it is."""
    if not isinstance(message, dict):
        raise Refused("malformed_message", "a message is no object", "log messages as the conventions have them")
    listed = message.get("parts") if isinstance(message.get("parts"), list) else message.get("content")
    if not isinstance(listed, list):
        return [message]
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in listed:
        kind = str(part.get("type", "text")).replace("-", "_") if isinstance(part, dict) else "text"
        if isinstance(part, dict) and kind == "tool_call":
            arguments = next((part[key] for key in ("arguments", "args", "input") if part.get(key) is not None), {})
            calls.append({"id": part.get("id") or part.get("toolCallId"), "name": part.get("name") or part.get("toolName"),
                          "arguments": arguments})  # fmt: skip
        elif isinstance(part, dict) and kind in ("tool_call_response", "tool_result"):
            found = next((part[key] for key in ("response", "result", "output") if part.get(key) is not None), "")
            results.append({"role": "tool", "tool_call_id": part.get("id") or part.get("toolCallId"), "content": _result(found),
                            "is_error": bool(part.get("isError"))})  # fmt: skip
        elif kind == "text":
            texts.append(str(part.get("content", part.get("text", ""))) if isinstance(part, dict) else str(part))
    whole = {**{key: message[key] for key in ("tool_call_id", "id") if key in message}, "role": message.get("role"),
             "content": "\n".join(texts) if texts or not calls else None, "tool_calls": calls}  # fmt: skip
    return [*results] if results and not texts and not calls else [*results, whole]


def _result(found: Any) -> str:
    if (
        isinstance(found, dict)
        and found.get("type") in ("json", "text", "error-text", "error-json")
        and "value" in found
    ):
        found = found["value"]
    return found if isinstance(found, str) else canonical_json(found)


def _messages(span: Span) -> tuple[list[Any] | None, list[Any] | None]:
    """History and answer, by whichever generation the span speaks; (None, None) when it carries no messages."""
    a = span.attributes
    if "gen_ai.input.messages" in a or "gen_ai.output.messages" in a:
        system = _json(a.get("gen_ai.system_instructions")) or []
        before = [{"role": "system", "parts": system}] if isinstance(system, list) and system else []
        return [*before, *_list(a.get("gen_ai.input.messages"))], _list(a.get("gen_ai.output.messages"))
    if "ai.prompt.messages" in a:
        calls = [
            {"type": "tool_call", **call} for call in _list(a.get("ai.response.toolCalls")) if isinstance(call, dict)
        ]
        text = a.get("ai.response.text") or a.get("ai.response.object")
        said = [*([{"type": "text", "content": str(text)}] if text else []), *calls]
        return _list(a["ai.prompt.messages"]), [{"parts": said}] if said else []
    if any(name.startswith("gen_ai.") for name, _ in span.events) and (found := _from_events(span)):
        return found
    prompt, completion = (
        nested(a, "gen_ai.prompt") or a.get("gen_ai.prompt"),
        nested(a, "gen_ai.completion") or a.get("gen_ai.completion"),
    )
    return (_list(prompt), _list(completion)) if prompt else (None, None)


def _from_events(span: Span) -> tuple[list[Any], list[Any]] | None:
    request: list[Any] = []
    answer: list[Any] = []
    for name, values in span.events:
        if name in _EVENT_ROLES:
            request.append({"role": _EVENT_ROLES[name], **{k: _json(values[k]) if k == "tool_calls" else values[k] for k in
                            ("content", "tool_calls", "id", "tool_call_id") if values.get(k) is not None}})  # fmt: skip
        elif name == "gen_ai.choice":
            message = _json(values.get("message"))
            answer.append(
                message
                if isinstance(message, dict)
                else {k: _json(values[k]) for k in ("content", "tool_calls") if k in values}
            )
        elif name == "gen_ai.content.prompt":
            request = _list(values.get("gen_ai.prompt"))
        elif name == "gen_ai.content.completion":
            answer = _list(values.get("gen_ai.completion"))
    return (request, answer) if request else None


def _list(given: Any) -> list[Any]:
    value = _json(given)
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    return value if isinstance(value, list) else [{"content": str(value), "role": "user"}] if value else []


def _json(given: Any) -> Any:
    """Attributes may hold JSON as text."""
    if isinstance(given, str) and given[:1] in ("[", "{"):
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            return given
    return given


def _tools(span: Span) -> Any:
    a = span.attributes
    given = a.get("gen_ai.tool.definitions", a.get("ai.prompt.tools"))
    if given is None:
        given = nested(a, "llm.request.functions")
    return _json(given)


def _signals(span: Span) -> list[Signal]:
    """Evaluation events and OpenInference annotations about the span."""
    found = []
    for name, values in span.events:
        if name == "gen_ai.evaluation.result":
            found.append(_signal(values.get("gen_ai.evaluation.name"), values.get("gen_ai.evaluation.score.value"),
                                 values.get("gen_ai.evaluation.score.label"), values.get("gen_ai.evaluation.explanation"), "LLM"))  # fmt: skip
    for one in nested(span.attributes, "annotations") or []:
        note = one.get("annotation", {}) if isinstance(one, dict) else {}
        if isinstance(note, dict):
            kind = str(note.get("annotator_kind") or "HUMAN")
            found.append(_signal(note.get("name"), note.get("score"), note.get("label"), note.get("explanation"), kind))
    return found


def _signal(name: Any, score: Any, label: Any, explanation: Any, kind: str) -> Signal:
    number = (
        float(score) if isinstance(score, int | float) and not isinstance(score, bool) and abs(score) < 1e300 else None
    )
    return Signal(str(name or "unnamed"), number, None if label is None else str(label),
                  None if explanation is None else str(explanation), kind, source="opentelemetry")  # fmt: skip
