"""Synthetic traffic for the `ingest` rows of `make bench`.

About 2.6 kB and three calls a trace over 20 tools, 8 % of the calls invalid, 15 % of the requests repeated or nearly so; the same
seed gives the same bytes.
"""

import json
import random
from pathlib import Path
from typing import Any

WEEK = "2026-01-05"
_WORDS = [
    "the",
    "order",
    "shipped",
    "late",
    "customer",
    "asks",
    "refund",
    "policy",
    "invoice",
    "number",
    "account",
    "update",
    "weather",
    "flight",
    "ticket",
    "please",
    "check",
    "status",
    "of",
    "my",
    "last",
    "purchase",
    "and",
    "compare",
    "with",
    "previous",
    "month",
    "revenue",
    "region",
    "north",
    "south",
    "table",
    "join",
    "left",
    "metric",
    "latency",
    "error",
    "rate",
    "spike",
    "during",
    "deploy",
    "window",
    "rollback",
    "canary",
    "traffic",
    "node",
    "cluster",
    "pod",
    "memory",
    "leak",
    "heap",
    "dump",
]


def _schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def tools() -> list[dict[str, Any]]:
    """Twenty tools, from a flat one to nested ones with patterns, unions and references."""
    text, whole = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
    passenger = {
        "type": "object",
        "properties": {"name": text, "age": {"type": "integer", "maximum": 130}},
        "required": ["name"],
    }
    schemas = {
        "search": _schema({"query": text, "top_k": {"type": "integer", "minimum": 1, "maximum": 50}}, ["query"]),
        "run_sql": _schema({"database": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}, "sql": text,
                            "params": {"type": "array", "items": {"type": ["string", "number", "null"]}}}, ["database", "sql"]),
        "book": {**_schema({"origin": {"type": "string", "pattern": "^[A-Z]{3}$"}, "date": text, "passengers":
                            {"type": "array", "items": {"$ref": "#/$defs/p"}, "minItems": 1}}, ["origin", "passengers"]),
                 "$defs": {"p": passenger}},
        "update": _schema({"table": text, "id": {"oneOf": [whole, {"type": "string", "pattern": "^[0-9a-f-]{36}$"}]},
                           "fields": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}},
                          ["table", "id", "fields"]),
    }  # fmt: skip
    for number in range(16):
        schemas[f"tool_{number:02d}"] = _schema(
            {"id": whole, "mode": {"enum": ["a", "b", "c"]}, "label": text, "tags": {"type": "array", "items": text}},
            ["id", "mode"],
        )
    return [
        {
            "type": "function",
            "x-access": "read_only",
            "function": {"name": name, "description": name, "parameters": schema},
        }
        for name, schema in schemas.items()
    ]


def write_traces(file: Path, count: int, seed: int = 0) -> int:
    """Write `count` traces; returns the bytes written."""
    rng = random.Random(seed)
    names = [tool["function"]["name"] for tool in tools()]
    weights = [1 / (place + 1) ** 0.7 for place in range(len(names))]
    earlier: list[tuple[str, list[tuple[str, str]]]] = []
    size = 0
    with file.open("wb") as stream:
        for number in range(count):
            if earlier and rng.random() < 0.15:
                request, calls = rng.choice(earlier)
                request += "" if rng.random() < 0.5 else f" {rng.choice(_WORDS)}"
            else:
                ids = " ".join(str(rng.randint(1, 10**6)) for _ in range(4))
                request = f"{_text(rng, rng.randint(35, 75))} {ids}"
                calls = [
                    (name, _arguments(rng, name, ids.split()))
                    for name in rng.choices(names, weights, k=rng.choice((2, 3, 3, 4)))
                ]
                if len(earlier) < 5_000:
                    earlier.append((request, calls))
            line = json.dumps(_trace(rng, number, request, calls), ensure_ascii=False).encode() + b"\n"
            size += stream.write(line)
    return size


def _trace(rng: random.Random, number: int, request: str, calls: list[tuple[str, str]]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"You are a helpful assistant with tools. Policy v{number % 3}."},
                                      {"role": "user", "content": request}]  # fmt: skip
    for place, (name, arguments) in enumerate(calls):
        call_id = f"call_{number:08x}{place}"
        function = {"name": name, "arguments": arguments}
        messages.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            }
        )
        body = {"ok": True, "data": _text(rng, rng.randint(12, 34)), "n": rng.randint(0, 99)}
        messages.append({"role": "tool", "tool_call_id": call_id, "content": json.dumps(body)})
    messages.append({"role": "assistant", "content": _text(rng, rng.randint(20, 60))})
    return {
        "id": f"{rng.getrandbits(128):032x}", "started_at": f"2026-01-{5 + number % 7:02d}T{number % 24:02d}:{number % 60:02d}:00Z",
        "client_id": "bench", "conversation_id": f"c-{number // 2}", "principal": f"person-{number % 50_000}", "model": "slm-3b",
        "adapter_id": f"week-{number % 4}", "messages": messages, "usage": {"prompt_tokens": rng.randint(100, 4000),
        "completion_tokens": rng.randint(10, 500)}, "latency_ms": round(rng.random() * 3000, 1),
    }  # fmt: skip


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


def _arguments(rng: random.Random, name: str, ids: list[str]) -> str:
    values: dict[str, Any]
    if name == "search":
        values = {"query": _text(rng, rng.randint(3, 9)), "top_k": rng.choice([3, 5, 10])}
    elif name == "run_sql":
        values = {"database": rng.choice(["sales", "ops"]), "sql": f"SELECT {rng.choice(_WORDS)} FROM t WHERE id = {rng.randint(1, 999)}",
                  "params": [rng.randint(1, 99), None]}  # fmt: skip
    elif name == "book":
        values = {
            "origin": rng.choice(["JFK", "CDG"]),
            "date": "2026-02-01",
            "passengers": [{"name": _text(rng, 2), "age": 30}],
        }
    elif name == "update":
        values = {
            "table": rng.choice(_WORDS),
            "id": int(rng.choice(ids)),
            "fields": {rng.choice(_WORDS): rng.choice([1, None, "x"])},
        }
    else:
        values = {"id": rng.randint(0, 500), "mode": rng.choice("abc"), "tags": rng.choices(_WORDS, k=2)}
    if rng.random() >= 0.08:
        return json.dumps(values)
    kind = rng.random()
    if kind < 0.15:
        return json.dumps(values)[: -rng.randint(1, 6)]
    if kind < 0.4:
        values.pop(next(iter(values)))
    elif kind < 0.6:
        values["thought"] = _text(rng, 3)
    else:
        values[next(iter(values))] = [[]]
    return json.dumps(values)
