"""Langfuse exports: observations one a record, or traces with their `observations` and `scores` inside.

A GENERATION's `input` and `output` are whatever the SDK stored, nearly always the OpenAI shape. The same observation sent
again is a duplicate.
"""

from typing import Any

from flywheel.traces.adapters.otel_genai import _json, expand
from flywheel.traces.conversation import message_of, messages_of, tools_of
from flywheel.traces.exchange import Exchange
from flywheel.traces.fields import count, moment, optional
from flywheel.traces.refused import Refused
from flywheel.traces.trace import Signal

FORMAT = "langfuse"
_KINDS = {"GENERATION", "SPAN", "EVENT", "TOOL", "AGENT", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"}
_FEEDBACK = ("user-feedback", "user_feedback", "feedback", "thumbs")


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a Langfuse observation or trace."""
    if isinstance(record.get("observations"), list):
        return True
    return record.get("type") in _KINDS and ("traceId" in record or "trace_id" in record)


def parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The observations of a trace, each with what the trace says; a lone observation is its own part."""
    observations = record.get("observations")
    if not isinstance(observations, list):
        return [record]
    around = {key: record[key] for key in ("userId", "sessionId", "scores", "environment", "tags") if key in record}
    found = [
        {**around, "traceId": record.get("id"), **one} if isinstance(one, dict) else {"type": "malformed"}
        for one in observations
    ]
    return found or [{"type": "SPAN", "traceId": record.get("id")}]


def exchanges(part: dict[str, Any]) -> list[Exchange]:
    """The exchange of a GENERATION, nothing for other observations; raises Refused with the reason."""
    if part.get("type") not in _KINDS:
        raise Refused("malformed_observation", "an observation is no object with a `type`", "export whole observations")
    if part.get("type") != "GENERATION":
        return []
    given = _json(part.get("input"))
    body = given if isinstance(given, dict) else {}
    listed = body.get("messages") if isinstance(body.get("messages"), list) else [given] if body else given
    if isinstance(listed, str):
        listed = [{"role": "user", "content": listed}]
    messages = messages_of(
        [one for message in listed or [] for one in expand(message)] if isinstance(listed, list) else None
    )
    error = str(part.get("statusMessage") or "error")[:200] if part.get("level") == "ERROR" else None
    said = _said(_json(part.get("output")))
    if said is None and error is None:
        raise Refused("missing_answer", "the generation has no `output`", "export generations with input and output")
    trace_id = part.get("traceId") or part.get("trace_id")
    usage = part.get("usageDetails") or part.get("usage")
    signals, feedback, comment = _scores(part.get("scores"))
    return [Exchange(
        source_system="langfuse",
        source_format=FORMAT,
        exchange_id=optional(part, "id"),
        run_id=str(trace_id) if trace_id else None,
        request=messages,
        answer=message_of(said, len(messages), {}) if said else None,
        error=error,
        tools=tools_of(body.get("tools") or None),
        conversation_id=optional(part, "sessionId"),
        principal=optional(part, "userId"),
        agent_name=optional(part, "name"),
        request_model=str(part.get("model") or "unknown"),
        started_at=moment(part, "startTime"),
        ended_at=moment(part, "endTime"),
        input_tokens=count(usage, "input", "promptTokens"),
        output_tokens=count(usage, "output", "completionTokens"),
        feedback_score=feedback,
        feedback_comment=comment,
        signals=signals,
    )]  # fmt: skip


def _said(output: Any) -> dict[str, Any] | None:
    if isinstance(output, dict) and isinstance(output.get("choices"), list) and output["choices"]:
        output = output["choices"][0].get("message") if isinstance(output["choices"][0], dict) else None
    if isinstance(output, list) and output and isinstance(output[-1], dict):
        output = output[-1]
    if isinstance(output, str):
        return {"role": "assistant", "content": output}
    return expand({**output, "role": "assistant"})[-1] if isinstance(output, dict) else None


def _scores(scores: Any) -> tuple[list[Signal], float | None, str | None]:
    """Scores as signals; one that is the user's feedback (0 or 1, or -1 to 1) also as the run's."""
    signals: list[Signal] = []
    feedback, comment = None, None
    for one in scores if isinstance(scores, list) else []:
        if not isinstance(one, dict):
            continue
        value = one.get("value")
        number = float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None
        label = (
            str(one["stringValue"]) if one.get("stringValue") is not None else value if isinstance(value, str) else None
        )
        kind = {"ANNOTATION": "HUMAN", "EVAL": "LLM"}.get(str(one.get("source")), "END_USER")
        said = str(one["comment"]) if one.get("comment") else None
        signals.append(Signal(str(one.get("name") or "unnamed"), number, label, said, kind, source="langfuse"))
        if str(one.get("name")).lower() in _FEEDBACK and number is not None and -1 <= number <= 1:
            feedback, comment = (-1.0 if number == 0 else number), said
    return signals, feedback, comment
