"""The tools of an agent: those its runs logged, and for runs that log none, a JSON Schema from the arguments seen.

A guessed schema accepts every call that was seen: what was always there is required, nothing is forbidden, and values that repeat are
only proposed as an enumeration. It must not make a right call look wrong.
"""

import json
from collections import Counter
from typing import Any, NamedTuple

from flywheel.chat.visible import visible
from flywheel.operations.pack_draft.evidence import Evidence, SeenCall
from flywheel.toolcalls.schema_check import schema_problem
from flywheel.workflows.guesses import Guess, digest_of
from flywheel.workflows.loader import TOOL_NAME

SURE = 5  # calls from which on "always there" is taken for required
_ENUMERATED = 20  # calls from which on few different values are taken for all there are
_LARGEST_ENUMERATION = 9
_DEPTH = 6
_OPEN_MAP = 40  # more keys than this are data, not a shape
_KINDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null",
                           list: "array", dict: "object"}  # fmt: skip


class DraftedTools(NamedTuple):
    """Tools as OpenAI functions by name, the guesses in them, and what a person should know."""

    tools: dict[str, dict[str, Any]]
    guesses: list[Guess]
    remarks: list[str]


def draft_tools(evidence: Evidence, given: list[dict[str, Any]] | None = None) -> DraftedTools:
    """The union of the tools logged (the newest version of each), and what was called by runs that logged none.

    Args:
        given: the agent's tools where somebody has them; nothing is then added to them.
    """
    if given is not None:
        tools = {tool["function"]["name"]: tool for tool in given}
        missing = sorted(set(evidence.by_tool) - set(tools))
        return DraftedTools(tools, [], [_not_offered(missing, evidence)] if missing else [])
    tools, remarks = _logged(evidence)
    unusable: set[str] = set()
    for name, tool in list(tools.items()):
        problem = schema_problem(tool["function"]["parameters"])
        if problem or not TOOL_NAME.fullmatch(name):
            del tools[name]
            unusable.add(name)
            remarks.append(
                f"{visible(name)} as logged cannot be used ({problem or 'its name'}); what was called stands in its place"
            )
    unlogged = {number for number, run in enumerate(evidence.runs) if not run.tools.sha256}
    guesses: list[Guess] = []
    invented = []
    for name, calls in sorted(evidence.by_tool.items()):
        if name in tools:
            continue
        mine = [call for call in calls if call.run in unlogged]
        if not (mine or name in unusable) or all(call.error for call in calls) or not TOOL_NAME.fullmatch(name):
            invented.append(name)
            continue
        tools[name], found = _inferred(name, calls)
        guesses += found
    if invented:
        remarks.append(_not_offered(invented, evidence))
    return DraftedTools(dict(sorted(tools.items())), guesses, remarks)


def _not_offered(names: list[str], evidence: Evidence) -> str:
    told = ", ".join(f"{visible(name)} ({len(evidence.by_tool[name])})" for name in names)
    return f"called but offered by no run, or only in vain, and left out (calls): {told}"


def _logged(evidence: Evidence) -> tuple[dict[str, dict[str, Any]], list[str]]:
    tools: dict[str, dict[str, Any]] = {}
    versions: dict[str, set[str]] = {}
    ordered = sorted(
        evidence.runs, key=lambda run: (run.started_at is not None, run.started_at and run.started_at.timestamp())
    )
    for text in dict.fromkeys(run.tools.text for run in reversed(ordered) if run.tools.sha256):
        for tool in json.loads(text):
            name = tool["function"]["name"]
            tools.setdefault(name, tool)
            versions.setdefault(name, set()).add(digest_of(tool["function"]))
    changed = [f"{name} ({len(seen)})" for name, seen in sorted(versions.items()) if len(seen) > 1]
    for tool in tools.values():
        function = tool["function"]
        function.setdefault("parameters", {"type": "object", "properties": {}})
    return tools, [f"seen in several versions, the newest is kept: {', '.join(changed)}"] if changed else []


def _inferred(name: str, calls: list[SeenCall]) -> tuple[dict[str, Any], list[Guess]]:
    objects = [call.arguments for call in calls if call.arguments is not None]
    parameters = schema_of(objects) if objects else {"type": "object", "properties": {}}
    tool = {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}
    seen = f"from the arguments of {len(objects)} calls"
    guesses = [
        Guess(f"{name}.parameters", "tools.json", (name, "function", "parameters"), digest_of(parameters), True, seen)
    ]
    for key in parameters["properties"]:
        given = [(call.run, call.arguments[key]) for call in calls if call.arguments and key in call.arguments]
        if values := _enumeration(given):
            place = (name, "function", "parameters", "properties", key, "enum")
            because = f"only these {len(values)} values in {len(given)} calls"
            guesses.append(Guess(f"{name}.{key}.enum", "tools.json", place, values, False, because))
    return tool, guesses


def _enumeration(given: list[tuple[int, Any]]) -> list[str] | None:
    """The values of an argument that look like all there are: few, short words, each in several runs."""
    if len(given) < _ENUMERATED or not all(isinstance(value, str) for _, value in given):
        return None
    runs = {value: {run for run, other in given if other == value} for value in {value for _, value in given}}
    words = all(value.replace("_", "").replace("-", "").isalpha() and len(value) < 30 for value in runs)
    few = 1 < len(runs) <= _LARGEST_ENUMERATION
    return sorted(runs) if few and words and all(len(seen) > 1 for seen in runs.values()) else None


def schema_of(values: list[Any], depth: int = 0) -> dict[str, Any]:
    """A JSON Schema of types, properties, items and required keys that accepts every one of `values`."""
    kinds = {_KINDS[type(value)] for value in values}
    whole = sum(type(value) is int for value in values)
    if "integer" in kinds and (
        "number" in kinds or whole < _ENUMERATED
    ):  # few whole numbers do not make an amount an integer
        kinds = kinds - {"integer"} | {"number"}
    schema: dict[str, Any] = {"type": next(iter(kinds)) if len(kinds) == 1 else sorted(kinds)}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        schema.update(_shape(objects, depth))
    elements = [element for value in values if isinstance(value, list) for element in value]
    if elements and depth < _DEPTH:
        schema["items"] = schema_of(elements, depth + 1)
    return schema


def _shape(objects: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    counts = Counter(key for value in objects for key in value)
    if depth >= _DEPTH or len(counts) > _OPEN_MAP:
        return {"properties": {}} if depth == 0 else {}
    properties = {key: schema_of([value[key] for value in objects if key in value], depth + 1) for key in counts}
    always = [key for key, count in counts.items() if count == len(objects)] if len(objects) >= SURE else []
    return {"properties": properties, **({"required": always} if always else {})}
