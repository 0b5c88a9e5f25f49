"""One short run (question, call, result, answer) in every format, as its producers write it."""

import json
from typing import Any

TOOLS = [{"type": "function", "function": {"name": "get_order", "description": "d", "parameters": {
    "type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}}}]  # fmt: skip
ARGUMENTS = '{"order_id": "A1"}'
RESULT = '{"status": "shipped"}'
ASK, CALL, TOLD, SAID = (
    {"role": "user", "content": "where is A1?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": ARGUMENTS}}]},
    {"role": "tool", "tool_call_id": "c1", "content": RESULT},
    {"role": "assistant", "content": "It is shipped."},
)  # fmt: skip
MESSAGES = [ASK, CALL, TOLD, SAID]
START = 1_767_690_000  # 2026-01-06T09:00:00Z


def chat(number: int = 0, *, started: float = START) -> list[dict[str, Any]]:
    """Two requests, the second repeating the first."""

    def record(history: list[dict], answer: dict, step: int) -> dict:
        return {"timestamp": started + step, "request": {"model": "m", "messages": history, "tools": TOOLS, "user": f"person-{number}"},
                "response": {"id": f"chatcmpl-{number}-{step}", "model": "m-1", "choices": [{"message": answer}],
                             "usage": {"prompt_tokens": 10, "completion_tokens": 2}}}  # fmt: skip

    return [record([ASK], CALL, 0), record([ASK, CALL, TOLD], SAID, 1)]


def nvidia(number: int = 0) -> list[dict[str, Any]]:
    """Arguments as objects, call ids dropped."""
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "get_order", "arguments": {"order_id": "A1"}}}],
    }
    told = {"role": "tool", "content": RESULT}

    def record(history: list[dict], answer: dict, step: int) -> dict:
        return {"timestamp": START + step, "workload_id": "orders", "client_id": f"shop-{number}",
                "request": {"model": "m", "messages": history, "tools": TOOLS}, "response": {"choices": [{"message": answer}]}}  # fmt: skip

    return [record([ASK], call, 0), record([ASK, call, told], SAID, 1)]


def _otlp(
    attributes: dict[str, Any], *, trace: str = "t1", span: str = "s1", step: int = 0, events: Any = (), status: int = 0
) -> dict[str, Any]:
    def value(given: Any) -> dict[str, Any]:
        if isinstance(given, str):
            return {"stringValue": given}
        if isinstance(given, bool):
            return {"boolValue": given}
        if isinstance(given, int):
            return {"intValue": str(given)}
        if isinstance(given, list):
            return {"arrayValue": {"values": [value(one) for one in given]}}
        return {"kvlistValue": {"values": pairs(given)}}

    def pairs(given: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": key, "value": value(one)} for key, one in given.items() if one is not None]

    made = {"traceId": trace, "spanId": span, "name": "chat m", "startTimeUnixNano": str((START + step) * 10**9),
            "endTimeUnixNano": str((START + step + 1) * 10**9), "attributes": pairs(attributes), "status": {"code": status},
            "events": [{"name": name, "attributes": pairs(inner)} for name, inner in events]}  # fmt: skip
    return {
        "resourceSpans": [
            {"resource": {"attributes": pairs({"service.name": "shop"})}, "scopeSpans": [{"spans": [made]}]}
        ]
    }


def otel_third(trace: str = "t3") -> list[dict[str, Any]]:
    """Messages with parts in attributes (from 1.37); one as JSON text."""
    ask = {"role": "user", "parts": [{"type": "text", "content": "where is A1?"}]}
    call = {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "c1", "name": "get_order", "arguments": {"order_id": "A1"}}],
        "finish_reason": "tool_call",
    }
    told = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": RESULT}]}
    said = {"role": "assistant", "parts": [{"type": "text", "content": "It is shipped."}], "finish_reason": "stop"}
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.conversation.id": "conv",
        "gen_ai.tool.definitions": json.dumps(TOOLS),
    }
    return [
        _otlp({**common, "gen_ai.input.messages": json.dumps([ask]), "gen_ai.output.messages": json.dumps([call])}, trace=trace),
        _otlp({**common, "gen_ai.input.messages": [ask, call, told], "gen_ai.output.messages": [said]}, trace=trace, span="s2", step=1),
        _otlp({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_order"}, trace=trace, span="s3"),
    ]  # fmt: skip


def otel_second(trace: str = "t2") -> list[dict[str, Any]]:
    """Span events (1.28 to 1.36)."""
    calls = json.dumps(CALL["tool_calls"])
    first = [
        ("gen_ai.user.message", {"content": "where is A1?"}),
        ("gen_ai.choice", {"index": 0, "message": {"tool_calls": CALL["tool_calls"]}}),
    ]
    second = [("gen_ai.user.message", {"content": "where is A1?"}), ("gen_ai.assistant.message", {"tool_calls": calls}),
              ("gen_ai.tool.message", {"id": "c1", "content": RESULT}), ("gen_ai.choice", {"message": json.dumps({"content": "It is shipped."})}),
              ("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.label": "yes"})]  # fmt: skip
    common = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    return [_otlp(common, trace=trace, events=first), _otlp(common, trace=trace, span="s2", step=1, events=second)]


def otel_first(trace: str = "t0") -> list[dict[str, Any]]:
    """Numbered attributes (up to 1.27, OpenLLMetry)."""
    call = {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.tool_calls.0.id": "c1",
            "gen_ai.completion.0.tool_calls.0.name": "get_order", "gen_ai.completion.0.tool_calls.0.arguments": ARGUMENTS}  # fmt: skip
    ask = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "where is A1?"}
    history = {"gen_ai.prompt.1.role": "assistant", "gen_ai.prompt.1.tool_calls.0.id": "c1", "gen_ai.prompt.1.tool_calls.0.name": "get_order",
               "gen_ai.prompt.1.tool_calls.0.arguments": ARGUMENTS, "gen_ai.prompt.2.role": "tool", "gen_ai.prompt.2.tool_call_id": "c1",
               "gen_ai.prompt.2.content": RESULT}  # fmt: skip
    said = {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "It is shipped."}
    return [_otlp({**ask, **call}, trace=trace), _otlp({**ask, **history, **said}, trace=trace, span="s2", step=1)]


def openinference(trace: str = "o1") -> list[dict[str, Any]]:
    """Flattened attributes, as a flat list of spans."""
    kind = {"openinference.span.kind": "LLM", "llm.model_name": "m", "session.id": "conv",
            "llm.tools.0.tool.json_schema": json.dumps(TOOLS[0])}  # fmt: skip
    ask = {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "where is A1?"}

    def call(prefix: str) -> dict[str, Any]:
        part = f"{prefix}.message.tool_calls.0.tool_call"
        return {
            f"{prefix}.message.role": "assistant",
            f"{part}.id": "c1",
            f"{part}.function.name": "get_order",
            f"{part}.function.arguments": ARGUMENTS,
        }

    told = {
        "llm.input_messages.2.message.role": "tool",
        "llm.input_messages.2.message.tool_call_id": "c1",
        "llm.input_messages.2.message.content": RESULT,
    }
    said = {"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "It is shipped.",
            "annotations.0.annotation.name": "correct", "annotations.0.annotation.score": 1, "annotations.0.annotation.annotator_kind": "HUMAN"}  # fmt: skip

    def span(attributes: dict[str, Any], number: int) -> dict[str, Any]:
        return {"name": "llm", "context": {"trace_id": trace, "span_id": f"s{number}"}, "start_time": f"2026-01-06T09:00:0{number}Z",
                "status_code": "OK", "attributes": attributes}  # fmt: skip

    return [span({**kind, **ask, **call("llm.output_messages.0")}, 0), span({**kind, **ask, **call("llm.input_messages.1"), **told, **said}, 1),
            span({"openinference.span.kind": "CHAIN"}, 2)]  # fmt: skip


def langfuse(trace: str = "l1") -> list[dict[str, Any]]:
    """A trace with observations and a score inside."""

    def generation(history: list[dict], output: Any, number: int) -> dict[str, Any]:
        return {"id": f"{trace}-g{number}", "type": "GENERATION", "model": "m", "startTime": f"2026-01-06T09:00:0{number}Z",
                "input": {"messages": history, "tools": TOOLS}, "output": output}  # fmt: skip

    return [{"id": trace, "name": "orders", "userId": "person-9", "sessionId": "conv",
             "scores": [{"name": "user-feedback", "value": 0, "comment": "no", "source": "API"}],
             "observations": [generation([ASK], CALL, 0), generation([ASK, CALL, TOLD], SAID, 1), {"id": "x", "type": "SPAN", "traceId": trace}]}]  # fmt: skip


def messages(number: int = 0) -> list[dict[str, Any]]:
    """The house's own."""
    return [{"id": f"run-{number}", "started_at": "2026-01-06T09:00:00Z", "tools": TOOLS, "messages": MESSAGES}]


def tau(number: int = 0) -> list[dict[str, Any]]:
    """tau-bench."""
    task = {"user_id": "sam", "actions": [{"name": "get_order", "kwargs": {"order_id": "A1"}}]}
    return [{"task_id": number, "trial": 0, "reward": 0.0, "info": {"task": task}, "traj": MESSAGES}]


FORMATS = {"chat_completions": chat, "nvidia_flywheel": nvidia, "otel third": otel_third, "otel second": otel_second, "otel first": otel_first,
           "openinference": openinference, "langfuse": langfuse, "messages": messages, "tau": tau}  # fmt: skip
