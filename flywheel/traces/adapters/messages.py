"""One agent run a record: `messages` and `tools` in an envelope. The house's own format, and the shapes of tau-bench and tau2.

    {"id", "conversation_id", "started_at", "ended_at", "client_id", "workload_id", "tenant_id", "principal", "agent", "provider",
     "model", "response_model", "adapter_id", "tools", "messages", "usage": {"input_tokens", "output_tokens"}, "outcome", "reward",
     "feedback": {"score", "comment"}, "signals": [Signal/1], "expected_actions": [{"name", "arguments"}], "environment", "metadata"}

Only `id` and `messages` must be there; without `tools` the pack's are meant. Unknown fields are kept in `metadata`. tau-bench:
`task_id`, `trial`, `traj`, `reward`, `info`. tau2: a results file with `simulations`.

Most records are well-formed, so a typed decoder reads them first; what it refuses is read again exactly, to say why.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from flywheel.chat.messages import Message
from flywheel.traces.conversation import messages_of, tools_of
from flywheel.traces.fields import count, expected, moment, number, score, signals_of, utc
from flywheel.traces.refused import Refused
from flywheel.traces.strict_json import strict_object, strict_value
from flywheel.traces.trace import NOT_LOGGED, Toolset, Trace

FORMAT = "messages"
OUTCOMES = ("success", "failure", "abandoned", "unknown")
_KNOWN = {
    "id", "trace_id", "source_id", "schema_version", "conversation_id", "started_at", "ended_at", "workload_id", "client_id",
    "tenant_id", "principal", "agent", "provider", "model", "response_model", "adapter_id", "tools", "messages", "usage", "outcome",
    "reward", "feedback", "signals", "expected_actions", "environment", "metadata", "task_id", "trial", "traj", "info",
}  # fmt: skip
_envelope = msgspec.json.Decoder(dict[str, Raw]).decode
_any = msgspec.json.Decoder().decode
_toolsets: dict[bytes, Toolset] = {}


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is of this format."""
    return isinstance(record.get("messages"), list) or isinstance(record.get("traj"), list)


def unpack(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The runs of a tau2 results file, each with what the file says of all; None for any other document."""
    simulations = document.get("simulations")
    if not isinstance(simulations, list) or not all(isinstance(run, dict) for run in simulations):
        return None
    actions = {
        task.get("id"): (task.get("evaluation_criteria") or {}).get("actions")
        for task in document.get("tasks") or []
        if isinstance(task, dict) and isinstance(task.get("evaluation_criteria") or {}, dict)
    }
    return [_from_tau2(run, actions.get(run.get("task_id"))) for run in simulations]


class _Line(Struct, gc=False):
    """The usual fields of a well-formed record; the rest is read from the envelope."""

    messages: list[Message]
    id: str
    tools: Raw | None = None
    client_id: str | None = None
    conversation_id: str | None = None
    principal: str | None = None
    workload_id: str | None = None
    model: str | None = None
    adapter_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    usage: dict[str, Any] | None = None


_line = msgspec.json.Decoder(_Line).decode
_UNUSUAL = _KNOWN - set(_Line.__struct_fields__)


def read(data: bytes) -> Trace:
    """One record; raises Refused with the reason."""
    return read_quickly(data) or from_object(strict_object(data))


def read_quickly(data: bytes) -> Trace | None:
    """A record that is one well-formed run; None for any other, of which the exact reading says what it is."""
    try:
        return _quick(_line(data), _envelope(data)) if data.count(b'"messages"') == 1 else None
    except (msgspec.MsgspecError, RecursionError, UnicodeError, TypeError):
        return None


def _quick(line: _Line, fields: dict[str, Raw]) -> Trace:
    """Raises TypeError for what is no single run."""
    _check_quickly(line.messages)
    if not line.id:
        raise TypeError("id")
    trace = Trace(
        source_system=line.client_id or "unknown",
        source_id=line.id,
        source_format=FORMAT,
        messages=line.messages,
        tools=_cached_tools(line.tools) if line.tools is not None else NOT_LOGGED,
        conversation_id=line.conversation_id or None,
        principal=line.principal or None,
        workload_id=line.workload_id or None,
        request_model=line.model or "unknown",
        adapter_id=line.adapter_id or "base",
        started_at=utc(line.started_at),
        ended_at=utc(line.ended_at),
        input_tokens=count(line.usage, "input_tokens", "prompt_tokens"),
        output_tokens=count(line.usage, "output_tokens", "completion_tokens"),
    )
    extra = {key: value for key, value in fields.items() if key not in _KNOWN}
    if "simulations" in extra:
        raise TypeError("a document of runs")
    if unusual := fields.keys() & _UNUSUAL:
        _complete(trace, {key: _any(fields[key]) for key in unusual}, extra)
    elif extra:
        trace.metadata = extra
    return trace


def _check_quickly(messages: list[Message]) -> None:
    """Roles and the pairing of calls and results; TypeError sends the record to the exact reading."""
    made: set[str] = set()
    answered = False
    for message in messages:
        role = message.role
        if role == "assistant":
            answered = True
            if message.tool_calls:
                for call in message.tool_calls:
                    made.add(call.id)
            elif message.content is None:
                message.content = ""
        elif role == "tool":
            if message.tool_call_id not in made or message.content is None:
                raise TypeError("unpaired")
        elif (role != "user" and role != "system") or message.content is None:
            raise TypeError("role")
        if role != "assistant" and message.tool_calls:
            raise TypeError("calls")
    if not answered:
        raise TypeError("no assistant step")


def _cached_tools(raw: Raw) -> Toolset:
    """Tools are the same in nearly every record of a file: hashed and checked once."""
    key = bytes(raw)
    known = _toolsets.get(key)
    if known is None:
        if len(_toolsets) > 1_000:
            _toolsets.clear()
        known = _toolsets[key] = tools_of(strict_value(key))
    return known


def from_object(value: dict[str, Any]) -> Trace:
    """A record as plain values, read exactly; raises Refused with the reason."""
    if isinstance(value.get("traj"), list):
        value = _from_tau(value)
    messages = messages_of(value.get("messages"))
    if not any(message.role == "assistant" for message in messages):
        raise Refused("no_assistant_step", "the run has no assistant message", "log the run after the model answered")
    extra = {key: item for key, item in value.items() if key not in _KNOWN}
    source_id = value.get("id") or value.get("source_id") or value.get("trace_id")
    if not isinstance(source_id, str) or not source_id:
        raise Refused("missing_id", "`id` is absent or no text", "log the run's id in `id`")
    trace = Trace(
        source_system=str(value.get("client_id") or "unknown"), source_id=source_id, source_format=FORMAT, messages=messages,
        tools=tools_of(value.get("tools")), started_at=moment(value, "started_at"), ended_at=moment(value, "ended_at"),
    )  # fmt: skip
    _complete(trace, value, extra)
    return trace


def _complete(trace: Trace, value: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add what a record may say besides id, messages, tools and times."""
    for field in value.keys() & _TEXTS.keys():
        if value[field] not in (None, ""):
            setattr(trace, _TEXTS[field], str(value[field]))
    if isinstance(usage := value.get("usage"), dict):
        trace.input_tokens = count(usage, "input_tokens", "prompt_tokens")
        trace.output_tokens = count(usage, "output_tokens", "completion_tokens")
    if "reward" in value or "outcome" in value:
        trace.reward = number(value, "reward")
        trace.outcome_status = _outcome(value.get("outcome"), trace.reward)
    if value.get("feedback"):
        trace.feedback_score, trace.feedback_comment = _feedback(value["feedback"])
    if value.get("signals"):
        trace.signals = signals_of(value["signals"])
    if "expected_actions" in value:
        trace.expected_actions = expected(value["expected_actions"])
    if value.get("environment") == "simulated":
        trace.environment = "simulated"
    own = value.get("metadata")
    if extra or (isinstance(own, dict) and own):
        trace.metadata = {**(own if isinstance(own, dict) else {}), **extra}


# field of the record -> attribute of the trace, taken over as text
_TEXTS = {
    "conversation_id": "conversation_id", "principal": "principal", "tenant_id": "tenant_id", "workload_id": "workload_id",
    "agent": "agent_name", "provider": "provider_name", "model": "request_model", "response_model": "response_model",
    "adapter_id": "adapter_id",
}  # fmt: skip


def _outcome(given: Any, reward: float | None) -> str:
    if given in OUTCOMES and (given != "unknown" or reward is None):
        return given
    return "unknown" if reward is None else "success" if reward >= 1 else "failure"


def _feedback(given: Any) -> tuple[float | None, str | None]:
    if not isinstance(given, dict):
        raise Refused(
            "invalid_feedback", "`feedback` is no object", 'write {"score": -1 to 1, "comment": text or null}'
        )
    return score(given.get("score")), str(given["comment"]) if given.get("comment") else None


def _from_tau(run: dict[str, Any]) -> dict[str, Any]:
    """tau-bench: one trial of one task; trials of a task are one conversation, which no split may part."""
    info = run.get("info") if isinstance(run.get("info"), dict) else {}
    task = info.get("task") if isinstance(info.get("task"), dict) else {}  # type: ignore[union-attr]
    actions = task.get("actions")  # type: ignore[union-attr]
    kept = [
        {"name": action.get("name"), "arguments": action.get("kwargs", action.get("arguments"))}
        for action in actions
        if isinstance(action, dict)
    ] if isinstance(actions, list) else None  # fmt: skip
    given = {key: item for key, item in run.items() if key not in ("traj", "info")}
    return {
        **given,
        "id": run.get("id") or f"task-{run.get('task_id')}-trial-{run.get('trial', 0)}",
        "client_id": run.get("client_id") or "tau-bench",
        "conversation_id": f"task-{run.get('task_id')}",
        "messages": run["traj"],
        "principal": task.get("user_id"),  # type: ignore[union-attr]
        "expected_actions": kept,
    }


def _from_tau2(run: dict[str, Any], actions: Any) -> dict[str, Any]:
    rewards = run.get("reward_info") if isinstance(run.get("reward_info"), dict) else {}
    kept = [
        {"name": action.get("name"), "arguments": action.get("arguments")}
        for action in actions
        if isinstance(action, dict) and action.get("requestor", "assistant") == "assistant"
    ] if isinstance(actions, list) else None  # fmt: skip
    return {
        "id": str(run.get("id") or f"task-{run.get('task_id')}-trial-{run.get('trial', 0)}"),
        "client_id": "tau2-bench",
        "conversation_id": f"task-{run.get('task_id')}",
        "started_at": run.get("start_time"),
        "ended_at": run.get("end_time"),
        # Messages between the simulated user and the user's own tools are not the agent's.
        "messages": [m for m in run.get("messages") or [] if not isinstance(m, dict) or m.get("requestor", "assistant") == "assistant"],
        "reward": rewards.get("reward"),  # type: ignore[union-attr]
        "expected_actions": kept,
        "termination_reason": run.get("termination_reason"),
        "task_id": run.get("task_id"),
        "trial": run.get("trial"),
    }  # fmt: skip
