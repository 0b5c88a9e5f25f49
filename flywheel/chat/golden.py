"""Conversations that hold what chat templates get wrong: parallel calls, text beside calls, no text, no arguments, nested values.

Rendered by us and tokenised by vLLM they must give the same ids; written by the model they must be read back as the same calls.
"""

import json
from typing import Any

from flywheel.chat.render import Message

GOLDEN_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "find_orders",
            "description": "Orders of a customer, größte zuerst.",
            "parameters": {
                "type": "object",
                "properties": {
                    "customer": {"type": "string", "description": "Name as it is written on the order"},
                    "ids": {"type": "array", "items": {"type": "integer"}},
                    "limit": {"type": ["integer", "null"]},
                    "above": {"type": "number"},
                    "open": {"type": "boolean"},
                    "place": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "enum": ["Köln", "東京"]},
                            "codes": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                },
                "required": ["customer"],
            },
        },
    },
    {"type": "function", "function": {"name": "list_places", "description": "", "parameters": {}}},
]


def _call(number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


_SYSTEM = {"role": "system", "content": "You help customers of a shop.\nBe brief."}
_ASKED = {"role": "user", "content": "Where are Zoë's orders, the ones above 12.50 €?"}
_PARALLEL = {
    "role": "assistant",
    "content": "I look that up.",
    "tool_calls": [
        _call(1, "find_orders", {"customer": "Zoë O'Hara", "above": 12.5, "open": True, "ids": [3, 1, 2]}),
        _call(2, "list_places", {}),
    ],
}
_NESTED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        _call(3, "find_orders", {"customer": 'two\nlines, a "quote", a \\ and 🎉', "limit": None,
                                 "place": {"city": "東京", "codes": ["0012", "", "a]b}c"]}}),
    ],
}  # fmt: skip
_RESULTS = [
    {"role": "tool", "tool_call_id": "call_1", "content": '{"orders": [{"id": "A-1", "total": 13.0}]}'},
    {"role": "tool", "tool_call_id": "call_2", "content": '["Köln", "東京"]'},
]

# Each is a conversation whose assistant messages are, one after the other, what a model is trained to write.
GOLDEN: tuple[list[Message], ...] = (
    [_SYSTEM, _ASKED],
    [_ASKED, {"role": "assistant", "content": "Which shop, please?"}, {"role": "user", "content": "The one in Köln."}],
    [_SYSTEM, _ASKED, _PARALLEL, *_RESULTS, {"role": "assistant", "content": "One order: A-1."}, {"role": "user", "content": "Thanks!"}],
    [_SYSTEM, _ASKED, _PARALLEL, *_RESULTS, _NESTED, {"role": "tool", "tool_call_id": "call_3", "content": "[]"}],
    [_ASKED, _NESTED, {"role": "tool", "tool_call_id": "call_3", "content": '{"error": "NOT_FOUND"}'}],
)  # fmt: skip


def steps(conversation: list[Message]) -> list[tuple[list[Message], Message]]:
    """Every assistant message of a conversation with the history before it."""
    return [
        (conversation[:index], message) for index, message in enumerate(conversation) if message["role"] == "assistant"
    ]
