"""The unit of learning: one assistant step, history -> next assistant message.

What goes here: how an accepted run is cut into steps. What does not: which steps go into a week's mix (`mix.py`).
"""

import json
from typing import Any, NamedTuple

Message = dict[str, Any]


class Step(NamedTuple):
    """One assistant step of one source.

    Attributes:
        source: correction or demonstration.
        source_id: id of that row.
        from_week: week of the correction; None for a demonstration.
        conversation_id: conversation the step comes from.
        failure_cluster: cluster the step repairs; None for a demonstration.
        message_index: index of the target in the source's messages.
        tools: OpenAI tools.
        history: messages before the target, system prompt included.
        target: the assistant message to learn.
        verified_by, annotator_kind, qa_mode: why the target may be believed.
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


def steps_of_correction(row: dict[str, Any]) -> list[Step]:
    """One step per trainable index of a `corrected_traces` row: the corrected step and what people wrote after it."""
    messages = json.loads(row["messages"])
    tools = json.loads(row["tools"])
    return [
        Step("correction", row["correction_id"], row["week"], row["conversation_id"], row["failure_cluster"], index, tools,
             messages[:index], messages[index], row["verified_by"], row["annotator_kind"], row["qa_mode"])
        for index in json.loads(row["trainable_indices"])
    ]  # fmt: skip


def steps_of_demonstration(row: dict[str, Any]) -> list[Step]:
    """One step per assistant message of a `demonstrations` row."""
    messages = json.loads(row["messages"])
    tools = json.loads(row["tools"])
    return [
        Step("demonstration", row["demonstration_id"], None, row["conversation_id"], None, index, tools, messages[:index],
             message, f"qa_{row['qa_mode']}", row["annotator_kind"], row["qa_mode"])
        for index, message in enumerate(messages)
        if message["role"] == "assistant"
    ]  # fmt: skip


def user_text(messages: list[Message]) -> str:
    """What the user said in a history, one line a message: the text that near-duplicates are judged on."""
    return "\n".join(str(message.get("content") or "") for message in messages if message["role"] == "user")
