"""The unit of learning: one assistant step, history -> next assistant message.

What goes here: how an accepted run is cut into steps. What does not: what is computed of a step (`candidates.py`), and which steps
go into a week's mix (`mix.py`).
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

Message = dict[str, Any]


class Step(NamedTuple):
    """One assistant step of one source.

    Attributes:
        source: correction, demonstration, verified or replay.
        source_id: id of that row.
        from_week: week of the correction or run; None for demonstrations and replay.
        conversation_id: conversation the step comes from.
        failure_cluster: cluster the step repairs; None where it repairs none.
        message_index: index of the target in the source's messages.
        tools: OpenAI tools.
        history: messages before the target, system prompt included.
        target: the assistant message to learn.
        verified_by, annotator_kind, qa_mode: why the target may be believed.
        bucket: failure bucket; None where the step repairs none.
        trace_id, principal_ref, tenant_id, batch_version, annotator, source_file: where it comes from, where known.
        rejected: what the model did in the target's place; None where it did nothing wrong there.
    """

    source: str
    source_id: str
    from_week: str | None
    conversation_id: str
    failure_cluster: str | None
    message_index: int
    tools: list[dict[str, Any]]
    history: list[Message]
    target: Message
    verified_by: str
    annotator_kind: str
    qa_mode: str
    bucket: str | None = None
    trace_id: str | None = None
    principal_ref: str | None = None
    tenant_id: str | None = None
    batch_version: str | None = None
    annotator: str | None = None
    source_file: str | None = None
    rejected: Message | None = None


def steps_of_correction(row: Mapping[str, Any], run: Mapping[str, Any] | None = None) -> list[Step]:
    """One step per trainable index of a `corrected_traces` row: the corrected step and what people wrote after it.

    `run` holds tenant_id and source_file of the production run, where it is known.
    """
    messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
    return [
        Step(
            "correction", row["correction_id"], row["week"], row["conversation_id"], row["failure_cluster"], index, tools,
            messages[:index], messages[index], row["verified_by"], row["annotator_kind"], row["qa_mode"], row.get("bucket"),
            row.get("trace_id"), row.get("principal_ref"), (run or {}).get("tenant_id"), row.get("batch_version"),
            row.get("annotator") or row.get("editor"), (run or {}).get("source_file"),
            json.loads(row["rejected_message"]) if index == row["first_bad_message_index"] else None,
        )
        for index in json.loads(row["trainable_indices"])
    ]  # fmt: skip


def steps_of_demonstration(row: Mapping[str, Any]) -> list[Step]:
    """One step per assistant message that a `demonstrations` row shows: what was given before stays history."""
    messages, tools = json.loads(row["messages"]), json.loads(row["tools"])
    verified_by = row["reviewer"] if row["qa_mode"] == "verifier" else f"qa_{row['qa_mode']}"
    return [
        Step(
            "demonstration", row["demonstration_id"], None, row["conversation_id"], None, index, tools, messages[:index], message,
            verified_by, row["annotator_kind"], row["qa_mode"], None, row.get("trace_id"), row.get("principal_ref"),
            row.get("tenant_id"), annotator=row.get("annotator"), source_file=row.get("source_file"),
        )
        for index, message in enumerate(messages)
        if message["role"] == "assistant" and index >= (row.get("trains_from") or 0)
    ]  # fmt: skip


def user_text(messages: list[Message]) -> str:
    """What the user said in a history, one line a message: the text that near-duplicates are judged on."""
    return "\n".join(str(message.get("content") or "") for message in messages if message["role"] == "user")
