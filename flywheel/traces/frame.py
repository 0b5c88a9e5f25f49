"""Traces as a frame: the columns of `production_traces` before redaction, and what places each row in the inbox."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
from msgspec import Struct

from flywheel.privacy.vault import Vault
from flywheel.traces.trace import Columns, Trace, metadata_json, signals_json, trace_id_of


class Taken(Struct, gc=False):
    """A trace on its way into a frame: without its messages, which `derived` stands for.

    `file` and `record` place it in the inbox and order the rows; `records` are the positions of a run's exchanges.
    """

    trace: Trace
    derived: Columns
    file: int
    record: int
    source_line: int
    records: list[str] | None


def frame_of(taken: list[Taken], file: str, first_week: str, time_zone: str, vault: Vault) -> pl.DataFrame:
    """Traces of one file as columns, in the order in which they were taken; undated ones belong to `first_week`."""
    traces, derived = [one.trace for one in taken], [one.derived for one in taken]
    reference = vault.principal_ref
    columns: dict[str, Any] = {
        "trace_id": [trace_id_of(t.source_system, t.source_id) for t in traces],
        "source_system": [t.source_system for t in traces],
        "source_id": [t.source_id for t in traces],
        "source_format": [t.source_format for t in traces],
        "content_sha256": [d.content_sha256 for d in derived],
        "conversation_id": [t.conversation_id or t.source_id for t in traces],
        "principal_ref": [reference(t.principal) if t.principal else None for t in traces],
        "tenant_id": [t.tenant_id for t in traces],
        "workload_id": [t.workload_id for t in traces],
        "agent_name": [t.agent_name for t in traces],
        "provider_name": [t.provider_name for t in traces],
        "request_model": [t.request_model for t in traces],
        "response_model": [t.response_model for t in traces],
        "adapter_id": [t.adapter_id for t in traces],
        "started_at": [_microseconds(t.started_at) for t in traces],
        "ended_at": [_microseconds(t.ended_at) for t in traces],
        "input_tokens": [t.input_tokens for t in traces],
        "output_tokens": [t.output_tokens for t in traces],
        "tools_sha256": [t.tools.sha256 for t in traces],
        "messages": [d.messages for d in derived],
        "assistant_steps": [d.assistant_steps for d in derived],
        "tool_calls": [d.tool_calls for d in derived],
        "tool_errors": [d.tool_errors for d in derived],
        "outcome_status": [t.outcome_status for t in traces],
        "reward": [t.reward for t in traces],
        "feedback_score": [t.feedback_score for t in traces],
        "feedback_comment": [t.feedback_comment for t in traces],
        "signals": [signals_json(t.signals) for t in traces],
        "expected_actions": [
            msgspec.json.encode(t.expected_actions).decode() if t.expected_actions is not None else None for t in traces
        ],
        "environment": [t.environment for t in traces],
        "metadata": [metadata_json(t.metadata) if t.metadata else "{}" for t in traces],
        "request": [d.request for d in derived],
        "message_count": [d.message_count for d in derived],
        "file": [one.file for one in taken],
        "record": [one.record for one in taken],
        "records": [one.records for one in taken],
        "source_line": [one.source_line for one in taken],
    }
    frame = pl.DataFrame(columns, schema_overrides=_TYPES)
    local = pl.col("started_at").dt.convert_time_zone(time_zone)
    monday = local.dt.truncate("1w").dt.strftime("%Y-%m-%d")
    return frame.with_columns(
        monday.fill_null(first_week).cast(pl.Categorical).alias("week"),
        pl.col("started_at").is_null().alias("undated"),
        pl.lit(file).alias("source_file"),
    )


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("principal_ref", "tenant_id", "workload_id", "agent_name", "provider_name", "response_model", "feedback_comment",
                     "expected_actions"), pl.String),
    "started_at": pl.Datetime("us", "UTC"), "ended_at": pl.Datetime("us", "UTC"), "input_tokens": pl.Int64, "output_tokens": pl.Int64,
    "reward": pl.Float64, "feedback_score": pl.Float64, "message_count": pl.Int32, "file": pl.Int32, "record": pl.Int64,
    "records": pl.List(pl.String), "source_line": pl.Int64, "assistant_steps": pl.Int32, "tool_calls": pl.Int32, "tool_errors": pl.Int32,
}  # fmt: skip


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(moment: datetime | None) -> int | None:
    """Since 1970; an integer becomes a column ten times faster than a datetime."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
