"""Messages as what they say: what makes two histories the same context, for datasets and for the benchmark."""

from collections.abc import Sequence
from typing import Any

from flywheel.toolcalls.arguments import parse_arguments


def canonical_messages(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whitespace collapsed, arguments parsed where they are JSON, call ids replaced by their place."""
    places: dict[str, str] = {}
    canonical: list[dict[str, Any]] = []
    for message in messages:
        calls = []
        for call in message.get("tool_calls") or []:
            places[str(call.get("id"))] = f"#{len(places)}"
            raw = call["function"]["arguments"]
            parsed = parse_arguments(raw).value
            calls.append([call["function"]["name"], raw if parsed is None else parsed])
        entry: dict[str, Any] = {
            "role": message["role"],
            "content": " ".join(str(message.get("content") or "").split()),
        }
        if calls:
            entry["calls"] = calls
        if message["role"] == "tool":
            entry["answers"] = places.get(str(message.get("tool_call_id")), "")
        canonical.append(entry)
    return canonical
