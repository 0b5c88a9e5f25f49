"""BFCL v4, the Berkeley Function Calling Leaderboard: single-turn questions with possible answers, and irrelevant ones.

Read from the format of `bfcl-eval` 2026.3.23. Functions become JSON Schema, possible answers become `one_of`; BFCL's lossy comparison of
texts is not taken over (it takes 1.5 for 15). A case brings its own functions; cases of one function document are one cluster.
Multi-turn, memory and web search need BFCL's own Python classes, Java and JavaScript have values of another language: refused by name.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from flywheel.benchmark.importers.records import Record, Refused
from flywheel.benchmark.skeletons import BUCKETS
from flywheel.toolcalls.arguments import sha256_of

# BFCL's names of types -> JSON Schema's; None: any value.
_TYPES: Mapping[str, str | None] = {
    "dict": "object", "object": "object", "float": "number", "double": "number", "number": "number", "integer": "integer", "int": "integer",
    "string": "string", "boolean": "boolean", "bool": "boolean", "array": "array", "list": "array", "tuple": "array", "any": None, "null": "null",
}  # fmt: skip
_REFUSED = (
    ("multi_turn", "is judged by the state of BFCL's own Python classes"), ("memory", "needs BFCL's memory classes"),
    ("web_search", "needs the web"), ("format_sensitivity", "is about prompt formats"), ("simple_javascript", "has values of another language"),
    ("simple_java", "has values of another language"),
    ("live_relevance", "has no possible answer: any call counts"),
)  # fmt: skip
_COMBINATIONS = 200


def bfcl_case(record: Record, answers: Mapping[str, list[Any]]) -> dict[str, Any]:
    """A case as JSON values; raises Refused with the reason.

    Args:
        answers: id -> ground truth, of the file of possible answers.
    """
    value = record.value
    if not isinstance(value, dict) or "question" not in value:
        raise Refused("it is no question of BFCL")
    own_id, question = str(value.get("id")), value["question"]
    for prefix, reason in _REFUSED:
        if own_id.startswith(prefix):
            raise Refused(f"{prefix} {reason}")
    if not isinstance(question, list) or len(question) != 1 or not isinstance(question[0], list) or not question[0]:
        raise Refused("it is no question of one turn")
    if any(not isinstance(message, dict) or message.get("role") != "user" for message in question[0]):
        raise Refused("it brings a system prompt or earlier answers; cases run under the pack's system prompt")
    if not value.get("function"):
        raise Refused("it offers no function")
    functions = value["function"] if isinstance(value["function"], list) else [value["function"]]
    tools = [_tool(function) for function in functions]
    irrelevant = "irrelevance" in own_id
    if irrelevant:
        expectation: dict[str, Any] = {"kind": "reply", "includes": [], "excludes": []}
    else:
        if own_id not in answers:
            raise Refused("it has no possible answer")
        expectation = {"kind": "call", "calls": [_call(one) for one in answers[own_id]]}
    category = "refusal" if irrelevant else "tool_calling"
    return {
        "id": f"bfcl-{re.sub(r'[^a-z0-9_.-]', '-', own_id.lower())}"[:80],
        "cluster": f"bfcl-{sha256_of(functions)[:12]}",
        "category": category,
        "exercises": {
            "buckets": BUCKETS[category],
            "tools": [] if irrelevant else sorted({call["name"] for call in expectation["calls"]}),
        },
        "messages": question[0],
        "expectation": expectation,
        "tools": tools,
        "tags": ["bfcl", re.sub(r"_\d.*", "", own_id).replace("_", "-").lower()],
    }


def _tool(function: Any) -> dict[str, Any]:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Refused("a function has no name")
    parameters = json_schema(function.get("parameters") or {"type": "dict", "properties": {}})
    made = {"name": function["name"], "description": str(function.get("description") or ""), "parameters": parameters}
    return {"type": "function", "function": made}


def json_schema(dialect: Any) -> Any:
    """BFCL's dialect as JSON Schema: type names mapped, `any` dropped, everything else kept; raises Refused for an unknown type."""
    if not isinstance(dialect, dict):
        raise Refused(f"a schema is {type(dialect).__name__}, not an object")
    made = {
        key: value
        for key, value in dialect.items()
        if key not in ("type", "properties", "items", "additionalProperties")
    }
    named = dialect.get("type")
    if named is not None:
        kind = str(named).lower()
        if kind not in _TYPES:
            raise Refused(f"type {named!r} has no counterpart in JSON Schema")
        if _TYPES[kind] is not None:
            made["type"] = _TYPES[kind]
    if isinstance(dialect.get("properties"), dict):
        made["properties"] = {name: json_schema(inner) for name, inner in dialect["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in dialect:
            made[key] = dialect[key] if isinstance(dialect[key], bool) else json_schema(dialect[key])
    return made


def _call(truth: Any) -> dict[str, Any]:
    if not isinstance(truth, dict) or len(truth) != 1:
        raise Refused("its possible answer is not one function with its parameters")
    ((name, parameters),) = truth.items()
    if not isinstance(parameters, dict):
        raise Refused("its possible answer has no parameters")
    return {"name": name, "arguments": {key: _matcher(key, values) for key, values in parameters.items()}}


def _matcher(name: str, values: Any) -> dict[str, Any]:
    """A list of acceptable values; "" in it means that the parameter may be left out."""
    if not isinstance(values, list) or not values:
        raise Refused(f"the possible answer of {name} is no list of values")
    rule: dict[str, Any] = {"one_of": [one for value in values if value != "" for one in _written_out(value)] or [""]}
    return {**rule, "may_omit": True} if "" in values else rule


def _written_out(value: Any) -> list[Any]:
    """Acceptable values of one entry: objects, and lists of objects, list acceptable values for each of their keys."""
    if isinstance(value, dict):
        keys, options = list(value), [value[key] if isinstance(value[key], list) else [value[key]] for key in value]
        made = [
            {key: chosen for key, chosen in zip(keys, choice, strict=True) if chosen != ""}
            for choice in itertools.islice(itertools.product(*options), _COMBINATIONS + 1)
        ]
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        made = [
            list(choice) for choice in itertools.islice(itertools.product(*map(_written_out, value)), _COMBINATIONS + 1)
        ]
    else:
        return [value]
    if len(made) > _COMBINATIONS:
        raise Refused(f"its possible answers write out to more than {_COMBINATIONS} values")
    return made
