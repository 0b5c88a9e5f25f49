"""What the shop gets in the fifth of the ten weeks: one more tool, its guideline, and the benchmark slice that judges it.

The cases' phrases and entities are the benchmark's own (`benchmark_author.py`), as for the core: none is used by the customers.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flywheel.demo.benchmark_author import draw_facts, expect_call, write_case
from flywheel.toolcalls.schema_check import tool_names

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "set_delivery_slot",
        "description": "Choose when an order is delivered",
        "parameters": {
            "type": "object",
            "properties": {
                "order_id": {"type": "string"},
                "day": {"enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]},
                "time": {"enum": ["morning", "afternoon", "evening"]},
            },
            "required": ["order_id", "day", "time"],
            "additionalProperties": False,
        },
    },
    "x-access": "write",
}
SLICE = "delivery_slot"
_NAME = TOOL["function"]["name"]
_GUIDELINE = "10. **Delivery slots.** Day and time as the customer says them, with `set_delivery_slot`.\n"
_PHRASES = (
    "Please deliver order {o} on {day} {time}.", "I would like {o} to arrive on {day} {time}.", "Set the delivery of {o} to {day}, {time}.",
    "For order {o} choose {day} {time} as delivery time.", "My {thing} ({o}) shall arrive {day} {time}.", "Is {day} {time} possible for order {o}?",
    "Schedule {o} for {day} {time}, please.", "Nobody is here before {day} {time}; deliver {o} then.", "Order {o}: delivery {day} {time}, please.",
    "Make it {day} {time} for {o}.", "The best slot for {o} is {day} {time}.", "Reserve {day} {time} for the delivery of {o}.",
)  # fmt: skip


def cases() -> Iterator[dict[str, Any]]:
    """24 cases: one message with all facts -> one call of the new tool; two instances a phrasing."""
    properties = TOOL["function"]["parameters"]["properties"]
    for number in range(2):
        for index, phrase in enumerate(_PHRASES):
            rng = random.Random(f"slot{index}{number}")
            facts = draw_facts(rng)
            day, time = rng.choice(properties["day"]["enum"]), rng.choice(properties["time"]["enum"])
            text = phrase.format(day=day.capitalize(), time=time, **facts)
            expectation = expect_call(_NAME, {"order_id": facts["o"], "day": day, "time": time})
            made = write_case(f"call-slot-{index:02d}{number}", f"slot-{index}", "tool_calling", [_NAME],
                              [{"role": "user", "content": text}], expectation)  # fmt: skip
            yield {**made, "slice": SLICE}


def add_to(pack: Path) -> bool:
    """Give a pack laid out in `pack` the tool, its cases and its guideline; False when it has them already."""
    file = pack / "tools.json"
    tools = json.loads(file.read_text(encoding="utf-8"))
    if _NAME in tool_names(tools):
        return False
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases())
    (pack / "benchmark" / f"{SLICE}.jsonl").write_text(lines, encoding="utf-8")
    guidelines = pack / "guidelines.md"
    guidelines.write_text(guidelines.read_text(encoding="utf-8").rstrip() + "\n" + _GUIDELINE, encoding="utf-8")
    # Last: a pack that has the tool has everything else.
    temporary = file.with_name("tools.json.partial")
    temporary.write_text(json.dumps([*tools, TOOL], indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)
    return True
