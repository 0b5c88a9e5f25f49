"""What the stand-in model says and thinks: functions of the served name and the conversation, the same on every machine."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
BASE = "base"
# Share of the conversations that go wrong, in hundredths.
_WRONG = {BASE: 70}
_WRONG_ADAPTER = 12


def next_message(served: str, messages: Sequence[Message]) -> Message:
    """The assistant's next message for the `door` pack: right, or wrong in one of four ways."""
    asked = next(message["content"] for message in messages if message["role"] == "user")
    draw = _number(served, asked)
    if draw % 100 >= _WRONG.get(served, _WRONG_ADAPTER):
        return _right(messages, asked)
    wrong: list[Message] = [
        {"role": "assistant", "content": "ok"},
        _call("open_door", {"door": "purple"}),
        _call("push_door", {"door": "red"}),
        _call("close_door" if "open" in asked else "open_door", {"door": "red"}),
    ]
    # After a tool's answer it only talks, or the conversation would never end.
    return wrong[0] if messages[-1]["role"] == "tool" else wrong[draw // 100 % len(wrong)]


def log_probabilities(served: str, ids: Sequence[int]) -> list[float]:
    """Nats of each token of a sequence: the base model's by rule, an adapter's half a nat above."""
    nats = [-1 - _number("token", place, token) % 1000 / 500 for place, token in enumerate(ids)]
    return nats if served == BASE else [value + 0.5 for value in nats]


def _right(messages: Sequence[Message], asked: str) -> Message:
    last = messages[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": "it is jammed" if "JAMMED" in last["content"] else "it is done"}
    door = next((door for door in ("red", "green", "blue", "gold") if door in asked), None)
    if door is None:
        return {"role": "assistant", "content": "doors only"}
    return _call("open_door" if "open" in asked else "close_door", {"door": door})


def _call(name: str, arguments: dict[str, Any]) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}  # fmt: skip


def _number(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6])
