"""Answers that another machine got to our cases, where nothing may leave this one: read, checked and scored like our own.

`requests` writes what is to be asked, a JSON line a case; `answered` takes back lines {"case_id", "messages", "epoch"}: the messages
after the case's history, one assistant message for a step, the whole run for an episode, whose calls are played again here.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flywheel.benchmark.cases import Case, tools_of
from flywheel.chat.render import canonical_tools
from flywheel.errors import FlywheelError
from flywheel.evaluation.runner import Arm, Benchmark, Run, identity, stored_run
from flywheel.evaluation.scoring import ANSWERED, Scorer
from flywheel.serving.client import ModelStep
from flywheel.toolcalls.arguments import canonical_json

MISSING = "not in the imported file"
Message = dict[str, Any]


def requests(benchmark: Benchmark) -> Iterator[dict[str, Any]]:
    """What is to be asked of each case; an episode also says what the customer goes on with, and needs the pack's environment."""
    decoding = benchmark.pack.settings.decoding
    for case in benchmark.cases:
        expectation = case.expectation
        more = (
            {"replies": expectation.replies, "max_steps": expectation.max_steps}
            if expectation.kind == "episode"
            else {}
        )
        yield {
            "case_id": case.id, "kind": "episode" if more else "step",
            "messages": [{"role": "system", "content": benchmark.pack.system}, *benchmark.examples, *case.messages],
            "tools": canonical_tools(tools_of(case, benchmark.pack.tools)), "temperature": decoding.temperature,
            "max_tokens": decoding.max_tokens, **more,
        }  # fmt: skip


def answered(file: Path, arm: Arm, benchmark: Benchmark) -> list[dict[str, Any]]:
    """EVAL_RESULTS rows (without partition columns); a case without an answer is an infrastructure error, which is never scored 0.

    Raises FlywheelError naming file, line and remedy for the first line that is wrong; nothing is taken then.
    """
    known = {case.id: case for case in benchmark.cases}
    runs: dict[tuple[str, int], Run] = {}
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FlywheelError(f"the answers cannot be read: {error}", where=str(file), remedy="name a UTF-8 file of JSON lines") from None  # fmt: skip
    for number, line in enumerate(lines, 1):
        if line.strip():
            case, epoch, own = _line(line, known, f"{file}:{number}")
            if (case.id, epoch) in runs:
                raise FlywheelError(f"case {case.id} is answered twice", where=f"{file}:{number}", remedy="keep one of the two, or number them by epoch")  # fmt: skip
            runs[case.id, epoch] = _run(case, own)
    if not runs:
        raise FlywheelError("the file holds no answer", where=str(file), remedy="flywheel reference export writes what is to be answered")  # fmt: skip
    epochs = range(max(epoch for _, epoch in runs) + 1)
    scorer = Scorer(benchmark.pack, benchmark.cases)
    rows = []
    for epoch in epochs:
        for case in benchmark.cases:
            run = runs.get((case.id, epoch)) or Run([*case.messages], infra_error=MISSING)
            rows.append(scorer.row({**identity(arm, case, benchmark, {"imported": file.name}, epoch), **stored_run(run), "started_at": None, "seconds": 0.0}))  # fmt: skip
    return rows


def _line(line: str, known: dict[str, Case], where: str) -> tuple[Case, int, list[Message]]:
    remedy = 'write {"case_id": ..., "messages": [the messages after the case\'s history], "epoch": 0}'
    try:
        value = json.loads(line)
        case_id, messages, epoch = value["case_id"], value["messages"], value.get("epoch", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FlywheelError(f"not an answer: {error}", where=where, remedy=remedy) from None
    if not isinstance(case_id, str) or case_id not in known:
        raise FlywheelError(f"there is no case {str(case_id)!r} in the frozen benchmark", where=where, remedy="export the cases anew: flywheel reference export")  # fmt: skip
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 32 or not isinstance(messages, list):
        raise FlywheelError("epoch is no number from 0 to 31, or messages no list", where=where, remedy=remedy)
    case = known[case_id]
    own = [_message(message, place, where) for place, message in enumerate(messages)]
    roles = [message["role"] for message in own]
    if case.expectation.kind != "episode" and roles != ["assistant"]:
        raise FlywheelError(
            f"case {case_id} is one step: it is answered by one assistant message", where=where, remedy=remedy
        )
    if "assistant" not in roles:
        raise FlywheelError(f"case {case_id}: the assistant says nothing", where=where, remedy=remedy)
    return case, epoch, own


def _message(message: Any, place: int, where: str) -> Message:
    """A message in our form: ids of our own, arguments as text, nothing else kept."""
    try:
        role, content = message["role"], message.get("content")
        if role not in ("assistant", "tool", "user") or not isinstance(content, str | None):
            raise TypeError("role is assistant, tool or user, content a text or null")
        if role != "assistant":
            return {
                "role": role,
                "content": content or "",
                **({"tool_call_id": str(message.get("tool_call_id"))} if role == "tool" else {}),
            }
        calls = [
            {"id": str(call.get("id") or f"call_{place}_{number}"), "type": "function",
             "function": {"name": str(call["function"]["name"]), "arguments": _text(call["function"]["arguments"])}}
            for number, call in enumerate(message.get("tool_calls") or [])
        ]  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise FlywheelError(f"message {place} is none of OpenAI's: {error}", where=where, remedy="write role, content and tool_calls") from None  # fmt: skip
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {"content": content or ""})}


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else canonical_json(arguments)


def _run(case: Case, own: Sequence[Message]) -> Run:
    said = [message for message in own if message["role"] == "assistant"]
    steps = [ModelStep(message, canonical_json(message), "stop", [], 0, [], 0.0) for message in said]
    return Run([*case.messages, *own], steps, stop_reason=ANSWERED)
