"""The canonical trace, `Trace/1`: one agent run, whatever format it came in.

What goes here: the record every adapter makes and its two forms, table columns and JSON. What does not: how a format is read
(`adapters/`), or in which files it lies (`records.py`).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from flywheel.chat.messages import Message
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.results import is_error_text

SCHEMA_VERSION = 1
NO_TOOLS = ""


class Signal(Struct, omit_defaults=True):
    """`Signal/1`: something said about a run. Names follow OpenInference annotations and OpenTelemetry evaluation events.

    Attributes:
        name: what was judged, e.g. user_feedback, correctness.
        score, label, explanation: the judgement; any may be absent.
        annotator_kind: END_USER, HUMAN, LLM or CODE.
        message_index: message it is about; None for the whole run.
        source, observed_at: who recorded it, and when (ISO 8601).
    """

    name: str
    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    annotator_kind: str = "END_USER"
    message_index: int | None = None
    source: str | None = None
    observed_at: str | None = None


class Toolset(NamedTuple):
    """The tools a run was offered: canonical JSON of OpenAI functions and its hash; an empty hash says that none were logged."""

    text: str
    sha256: str


NOT_LOGGED = Toolset("[]", NO_TOOLS)


class Trace(Struct, kw_only=True, gc=False):
    """One agent run; times are UTC, None where the source names none. See the columns of `production_traces`."""

    source_system: str
    source_id: str
    source_format: str
    messages: list[Message]
    tools: Toolset = NOT_LOGGED
    conversation_id: str | None = None
    principal: str | None = None
    tenant_id: str | None = None
    workload_id: str | None = None
    agent_name: str | None = None
    provider_name: str | None = None
    request_model: str = "unknown"
    response_model: str | None = None
    adapter_id: str = "base"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    outcome_status: str = "unknown"
    reward: float | None = None
    feedback_score: float | None = None
    feedback_comment: str | None = None
    signals: list[Signal] = []
    expected_actions: list[dict[str, Any]] | None = None
    environment: str = "production"
    metadata: dict[str, Any] = {}


_encode = msgspec.json.Encoder(decimal_format="number").encode


def trace_id_of(source_system: str, source_id: str) -> str:
    """16 hex digits of the hash of source system and source id (design.md 8.22): a re-sent or grown run keeps its id."""
    return hashlib.sha256(_encode((source_system, source_id))).hexdigest()[:16]


def toolset(tools: list[dict[str, Any]]) -> Toolset:
    """Tools as they are stored."""
    return Toolset(canonical_json(tools), sha256_of(tools))


class Columns(Struct, gc=False):
    """What is computed from a trace's messages: their JSON, the content hash, what a person asked, and counts."""

    messages: str
    content_sha256: str
    request: str
    message_count: int
    assistant_steps: int
    tool_calls: int
    tool_errors: int


def columns_of(trace: Trace) -> Columns:
    """The derived columns of one trace; the content hash is that of tools and messages, what the run said and did."""
    encoded = _encode(trace.messages)
    digest = hashlib.sha256(trace.tools.sha256.encode())
    digest.update(encoded)
    steps = calls = errors = 0
    request = []
    for message in trace.messages:
        role = message.role
        if role == "assistant":
            steps += 1
            if message.tool_calls:
                calls += len(message.tool_calls)
        elif role == "tool":
            errors += message.is_error or is_error_text(message.content or "")
        elif role == "user":
            request.append(message.content or "")
    return Columns(encoded.decode(), digest.hexdigest(), "\n".join(request), len(trace.messages), steps, calls, errors)


def metadata_json(metadata: dict[str, Any]) -> str:
    """A trace's remaining source fields as JSON text; raw parts are taken over byte for byte."""
    try:
        return _encode(metadata).decode()
    except (
        ValueError,
        OverflowError,
        TypeError,
    ):  # an integer past 64 bits, which JSON allows and the encoder does not
        plain = {
            key: msgspec.json.decode(value) if isinstance(value, Raw) else value for key, value in metadata.items()
        }
        return canonical_json(plain)


def signals_json(signals: Sequence[Signal]) -> str:
    """Signals as JSON text."""
    return _encode(signals).decode() if signals else "[]"
