"""Trace/1 and Signal/1 as others read and validate them: the record, its JSON Schema, and a table row as a record.

The schema is made from the types below, so it cannot drift from what is written; `flywheel schema trace` prints it.
"""

import json
from typing import Any

import msgspec
from msgspec import Struct

from flywheel.toolcalls.arguments import parse_arguments
from flywheel.traces.trace import SCHEMA_VERSION, Signal


class CalledFunction(Struct, forbid_unknown_fields=True):
    """A called function: `arguments` parsed, null where the model wrote no JSON object."""

    name: str
    arguments: dict[str, Any] | None


class RecordedCall(Struct, forbid_unknown_fields=True):
    """A tool call: `arguments_raw` is what the model emitted, `parse_error` why it is no object."""

    id: str
    type: str
    function: CalledFunction
    arguments_raw: str
    parse_error: str | None = None


class RecordedMessage(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An OpenAI message; `is_error` marks a tool result whose source said that it failed."""

    role: str
    content: str | None
    tool_calls: list[RecordedCall] | None = None
    tool_call_id: str | None = None
    is_error: bool = False


class Source(Struct, forbid_unknown_fields=True):
    """Where a trace came from: who logged it under which id, in which format, file and record."""

    system: str
    id: str
    format: str
    uri: str | None
    record: int | None
    extra: dict[str, Any]


class Outcome(Struct, forbid_unknown_fields=True):
    """How the run ended, as its source said."""

    status: str
    reward: float | None
    feedback_score: float | None
    feedback_comment: str | None


class TraceRecord(Struct, forbid_unknown_fields=True):
    """One agent run, redacted; times are ISO 8601 in UTC. Names follow OpenAI messages, OpenTelemetry GenAI and NVIDIA's records."""

    schema_version: int
    trace_id: str
    content_sha256: str
    conversation_id: str
    source: Source
    environment: str
    tenant_id: str | None
    workload_id: str | None
    principal_ref: str | None
    agent_name: str | None
    provider_name: str | None
    request_model: str
    response_model: str | None
    adapter_id: str
    started_at: str
    ended_at: str | None
    input_tokens: int | None
    output_tokens: int | None
    tools: list[dict[str, Any]]
    tools_sha256: str
    messages: list[RecordedMessage]
    outcome: Outcome
    signals: list[Signal]
    expected_actions: list[dict[str, Any]] | None
    redactions: dict[str, int]


def to_record(row: dict[str, Any], tools: str) -> dict[str, Any]:
    """A `production_traces` row and its tools (JSON text) as a Trace/1 object."""
    same = ("trace_id", "content_sha256", "conversation_id", "environment", "tenant_id", "workload_id", "principal_ref", "agent_name",
            "provider_name", "request_model", "response_model", "adapter_id", "input_tokens", "output_tokens", "tools_sha256")  # fmt: skip
    record = {
        "schema_version": SCHEMA_VERSION,
        **{name: row[name] for name in same},
        "source": {"system": row["source_system"], "id": row["source_id"], "format": row["source_format"], "uri": row["source_file"],
                   "record": row["source_line"], "extra": json.loads(row["metadata"])},
        "started_at": row["started_at"].isoformat(),
        "ended_at": row["ended_at"].isoformat() if row["ended_at"] else None,
        "tools": json.loads(tools),
        "messages": [_message(message) for message in json.loads(row["messages"])],
        "outcome": {"status": row["outcome_status"], "reward": row["reward"], "feedback_score": row["feedback_score"],
                    "feedback_comment": row["feedback_comment"]},
        "signals": json.loads(row["signals"]),
        "expected_actions": json.loads(row["expected_actions"]) if row["expected_actions"] else None,
        "redactions": json.loads(row["redactions"]),
    }  # fmt: skip
    return msgspec.to_builtins(msgspec.convert(record, TraceRecord))


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        parsed = parse_arguments(call["function"]["arguments"])
        calls.append({"id": call["id"], "type": call["type"], "function": {"name": call["function"]["name"], "arguments": parsed.value},
                      "arguments_raw": call["function"]["arguments"], "parse_error": parsed.error})  # fmt: skip
    return {**message, "tool_calls": calls}


def _schema(kind: type[Struct], name: str) -> dict[str, Any]:
    made = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **made}


SCHEMAS = {"trace": lambda: _schema(TraceRecord, "Trace/1"), "signal": lambda: _schema(Signal, "Signal/1")}
