"""Spoiled corrections: right ones made wrong in a way that only a careful reviewer sees, still valid under the tool's schema."""

import random
from typing import Any

from flywheel.corrections.answers import step_of
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.schema_check import check_call


def spoil(proposal: dict[str, Any], tools: list[dict[str, Any]], *, seed: str) -> dict[str, Any] | None:
    """A copy of a proposal whose corrected call has one wrong argument, cut after it; None where nothing can be spoiled.

    An enum takes another of its values, a boolean is turned, a number is one off, a text loses or doubles a character. Replies
    without a call give None: no rule of ours tells a wrong sentence from a right one.
    """
    step = step_of(proposal)
    calls = step.get("tool_calls") or []
    if not calls:
        return None
    rng = random.Random(seed)
    function = calls[0]["function"]
    arguments = parse_arguments(function["arguments"]).value or {}
    schema = next(
        (tool["function"].get("parameters", {}) for tool in tools if tool["function"]["name"] == function["name"]), {}
    )
    names = sorted(arguments)
    rng.shuffle(names)
    for name in names:
        for wrong in _wrong(arguments[name], schema.get("properties", {}).get(name, {}), rng):
            raw = canonical_json({**arguments, name: wrong})
            if wrong != arguments[name] and not check_call(tools, function["name"], raw):
                spoiled = {**calls[0], "function": {**function, "arguments": raw}}
                index = proposal["first_bad_message_index"]
                messages = [*proposal["messages"][:index], {**step, "tool_calls": [spoiled, *calls[1:]]}]
                return {
                    "first_bad_message_index": index,
                    "messages": messages,
                    "trainable_indices": [index],
                    "suffix_mode": "truncated",
                }
    return None


def _wrong(value: Any, schema: dict[str, Any], rng: random.Random) -> list[Any]:
    others = [other for other in schema.get("enum", []) if other != value]
    if others:
        return [rng.choice(others)]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value - 1]
    if not isinstance(value, str) or len(value) < 2:
        return []
    at = rng.randrange(1, len(value))
    return [value[:at] + value[at + 1 :], value[:at] + value[at] + value[at:] if at < len(value) else value * 2]
