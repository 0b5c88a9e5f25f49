"""Plain JSON lines: cases as the pack writes them, or the short form with a prompt and what is right after it.

    {"prompt": "Cancel order R1, I changed my mind.", "calls": [{"name": "cancel_order", "arguments": {"order_id": "R1", "reason": "changed_mind"}}]}
    {"prompt": "Write a song.", "reply": ["only help with"]}

Short values are exact; `id`, `cluster`, `category` and `tags` may be given.
"""

from typing import Any

from flywheel.benchmark.importers.records import Record, Refused
from flywheel.benchmark.skeletons import BUCKETS


def plain_case(record: Record, stem: str) -> dict[str, Any]:
    """A case as JSON values; raises Refused with the reason. `stem` names cases without an id, with their line."""
    value = record.value
    if not isinstance(value, dict):
        raise Refused("it is no object")
    number = record.where.split()[-1]
    name = "".join(character if character.isalnum() else "-" for character in f"{stem}-{number}".lower()).strip("-")[
        -80:
    ]
    case_id = value.get("id", name)
    if "prompt" not in value:
        defaults = {"id": case_id, "cluster": case_id, "exercises": {"buckets": [], "tools": []}}
        return {**defaults, **value}
    if not isinstance(value["prompt"], str) or ("calls" in value) == ("reply" in value):
        raise Refused("the short form has a prompt, a text, and either calls or reply")
    calls = value.get("calls")
    if calls is not None:
        category, expectation = "tool_calling", {"kind": "call", "calls": [_exact(call) for call in _list(calls)]}
    else:
        category, expectation = (
            "refusal",
            {"kind": "reply", "includes": [[str(phrase)] for phrase in _list(value["reply"])]},
        )
    rest = {key: one for key, one in value.items() if key not in ("prompt", "calls", "reply")}
    tools = sorted({call["name"] for call in expectation["calls"]}) if calls is not None else []
    exercises = {"buckets": BUCKETS[category], "tools": tools}
    return {"id": case_id, "cluster": case_id, "category": category, "exercises": exercises,
            "messages": [{"role": "user", "content": value["prompt"]}], "expectation": expectation, **rest}  # fmt: skip


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refused("calls and reply are lists")
    return value


def _exact(call: Any) -> dict[str, Any]:
    if (
        not isinstance(call, dict)
        or not isinstance(call.get("name"), str)
        or not isinstance(call.get("arguments"), dict)
    ):
        raise Refused("a call is {name, arguments}")
    return {"name": call["name"], "arguments": {key: {"exact": value} for key, value in call["arguments"].items()}}
