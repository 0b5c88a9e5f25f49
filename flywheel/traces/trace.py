"""The canonical trace: one agent run, whatever format it came in."""

from datetime import datetime
from typing import Any, NamedTuple

from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.results import tool_error


class Trace(NamedTuple):
    """One agent run.

    Attributes:
        source_system, source_id: who logged it and under which id; together they make the trace id.
        started_at, ended_at: UTC; None where the source names none.
        tools, messages: OpenAI form, arguments as the strings the model emitted.
        metadata: source fields without a column of their own.
        The rest: see the columns of `production_traces`.
    """

    source_system: str
    source_id: str
    conversation_id: str
    principal_ref: str | None
    adapter_id: str
    request_model: str
    started_at: datetime | None
    ended_at: datetime | None
    tools: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    outcome_status: str
    feedback_score: float | None
    feedback_comment: str | None
    environment: str
    metadata: dict[str, Any]

    @property
    def trace_id(self) -> str:
        """Hash of source system and source id (design.md 8.22): a re-sent or grown run keeps its id."""
        return sha256_of([self.source_system, self.source_id])[:16]

    def row(self, *, source_file: str, source_line: int, week_started: datetime) -> dict[str, Any]:
        """PRODUCTION_TRACES row without partition columns; an undated run starts with its week."""
        assistant = [message for message in self.messages if message["role"] == "assistant"]
        return {
            "trace_id": self.trace_id,
            "source_id": self.source_id,
            "content_sha256": sha256_of([self.tools, self.messages]),
            "conversation_id": self.conversation_id,
            "principal_ref": self.principal_ref,
            "adapter_id": self.adapter_id,
            "request_model": self.request_model,
            "started_at": self.started_at or week_started,
            "ended_at": self.ended_at,
            "tools": canonical_json(self.tools),
            "tools_sha256": sha256_of(self.tools),
            "messages": canonical_json(self.messages),
            "assistant_steps": len(assistant),
            "tool_calls": sum(len(message.get("tool_calls") or []) for message in assistant),
            "tool_errors": sum(
                message["role"] == "tool" and tool_error(message) is not None for message in self.messages
            ),
            "outcome_status": self.outcome_status,
            "feedback_score": self.feedback_score,
            "feedback_comment": self.feedback_comment,
            "environment": self.environment,
            "source_file": source_file,
            "source_line": source_line,
            "metadata": canonical_json(self.metadata),
        }
