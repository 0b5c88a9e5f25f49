"""The door pack's customers, experts and benchmark, in the shape of `flywheel.demo.protocol.Simulation`.

Week 2's customers ask for a door that nobody asked for before, so that the adapter of week 1 fails again.
"""

import json
import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flywheel.demo.protocol import Goal, Message, Step, Wish
from flywheel.toolcalls.arguments import canonical_json, parse_arguments

FOLDER = Path(__file__).parent / "door"
SAID = (
    "{v} {d}",
    "{d} {v}",
    "please {v} {d}",
    "{v} {d} please",
    "{v} {d} now",
    "hey {v} {d}",
    "{d} {v} please",
    "now {v} {d}",
)
ASKED = ("{v} the {d}", "{d} door {v}", "do {v} {d}", "{v} {d} quick", "quick {v} {d}", "do {d} {v}")
IDLE, OTHER_IDLE = (
    ("sing", "sing now", "dance please", "hey dance", "sing please", "dance"),
    ("do sing", "dance quick", "do dance", "sing quick"),
)
DOORS = ("red", "green", "blue")


def make_goals(seed: int, count: int, week: str, tools: Collection[str] = ()) -> list[Goal]:
    """Every phrasing, verb and door in turn; the gold door only from the second week on."""
    rng = random.Random(f"{seed}|{week}")
    doors = (*DOORS, "gold", "gold") if week == "2026-01-12" else DOORS
    goals = []
    for number in range(count):
        if number % 6 == 5:
            goals.append(Goal(f"{week}-{number}", [Wish("refuse", {})], rng.choice(IDLE), principal=f"p{number}"))
            continue
        verb, door = rng.choice(("open", "close")), rng.choice(doors)
        overrides = {"jammed": [door]} if number % 6 == 4 else {}
        text = rng.choice(SAID).format(v=verb, d=door)
        goals.append(
            Goal(
                f"{week}-{number}",
                [Wish(f"{verb}_door", {"door": door})],
                text,
                overrides=overrides,
                principal=f"p{number}",
            )
        )
    return goals


def solve(goal: Goal, messages: list[Message]) -> Step:
    """Call, then say how it ended; or refuse."""
    wish = goal.wishes[0]
    if wish.kind == "refuse":
        return Step({"role": "assistant", "content": "Doors only."}, [["doors only"]])
    ids = [c["id"] for m in messages for c in m.get("tool_calls") or []
           if c["function"]["name"] == wish.kind and parse_arguments(c["function"]["arguments"]).value == wish.facts]  # fmt: skip
    results = [m["content"] for m in messages if m["role"] == "tool" and m["tool_call_id"] in ids]
    if not results:
        call = {
            "id": f"call_{len(messages)}_0",
            "type": "function",
            "function": {"name": wish.kind, "arguments": canonical_json(wish.facts)},
        }
        return Step({"role": "assistant", "content": None, "tool_calls": [call]}, [])
    sentence = "It is jammed." if "JAMMED" in results[-1] else "It is done."
    return Step({"role": "assistant", "content": sentence}, [[sentence]])


def answer(goal: Goal, messages: list[Message], objections: int) -> str | None:
    """Content with the right words, otherwise one objection."""
    right = solve(goal, messages[:-1])
    said = str(messages[-1].get("content") or "").casefold()
    if objections or (right.must_say and right.must_say[0][0].casefold() in said):
        return None
    return "no, wrong"


def careless(message: Message, rng: Any) -> Message:
    """The other door, or the other words."""
    del rng
    if not message.get("tool_calls"):
        return {**message, "content": "Maybe."}
    call = message["tool_calls"][0]
    other = "green" if "red" in call["function"]["arguments"] else "red"
    return {
        **message,
        "tool_calls": [{**call, "function": {**call["function"], "arguments": canonical_json({"door": other})}}],
    }


def write_benchmark(folder: Path = FOLDER / "benchmark") -> None:
    """112 cases over the four categories, enough for a verdict that moves the pointer, in phrasings the customers never use."""
    lines: dict[str, list[dict[str, Any]]] = {"tool_calling": [], "multi_step": [], "refusal": [], "recovery": []}
    for verb in ("open", "close"):
        for door in DOORS:
            for number, phrase in enumerate(ASKED):
                text, tool = phrase.format(v=verb, d=door), f"{verb}_door"
                name = f"{verb}-{door}-{number}"
                said = {"role": "user", "content": text}
                call = {
                    "id": "c",
                    "type": "function",
                    "function": {"name": tool, "arguments": canonical_json({"door": door})},
                }
                made = {"role": "assistant", "content": None, "tool_calls": [call]}
                jam = {"role": "tool", "tool_call_id": "c", "content": '{"error": "JAMMED"}'}
                expected = {"kind": "call", "calls": [{"name": tool, "arguments": {"door": {"exact": door}}}]}
                episode = {"kind": "episode", "environment": {"seed": 0}, "actions": [{"name": tool, "arguments": {"door": door}}],
                           "outputs": ["it is done"], "max_steps": 3}  # fmt: skip
                lines["tool_calling"].append(
                    _case(f"call-{name}", f"{verb}-{number}", "tool_calling", [tool], [said], expected)
                )
                lines["multi_step"].append(
                    _case(f"episode-{name}", f"e-{verb}-{number}", "multi_step", [tool], [said], episode)
                )
                lines["recovery"].append(_case(f"jam-{name}", f"j-{verb}-{number}", "recovery", [tool], [said, made, jam],
                                               {"kind": "reply", "includes": [["it is jammed"]]}))  # fmt: skip
    for number, text in enumerate(OTHER_IDLE):
        refused = {"kind": "reply", "includes": [["doors only"]]}
        lines["refusal"].append(
            _case(f"idle-{number}", f"i-{number}", "refusal", [], [{"role": "user", "content": text}], refused)
        )
    folder.mkdir(parents=True, exist_ok=True)
    for category, cases in lines.items():
        (folder / f"{category}.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))


def _case(
    name: str, cluster: str, category: str, tools: list[str], messages: list[dict], expectation: dict
) -> dict[str, Any]:
    exercises = {"buckets": ["wrong_tool_selection", "wrong_arguments", "schema_violation"], "tools": tools}
    return {
        "id": name,
        "cluster": cluster,
        "category": category,
        "exercises": exercises,
        "messages": messages,
        "expectation": expectation,
    }


if __name__ == "__main__":
    write_benchmark()
