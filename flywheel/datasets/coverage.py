"""Coverage: which branches of the tools' schemas the rows teach, and which have too few examples.

A branch is something a call may do or leave: a tool at all, an enum value, a truth value, an optional field given or left out, a
format. `flywheel cover` turns the thin ones into a list of what to collect.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.fingerprints import calls_in


class Branch(NamedTuple):
    """One branch of a tool's schema: the place (path of the field, empty for the tool itself), and what it may be there."""

    tool: str
    path: str
    kind: str
    value: str


class Covered(NamedTuple):
    """A branch and the number of rows that teach it."""

    branch: Branch
    examples: int


def branches_of(tools: Sequence[Mapping[str, Any]]) -> list[Branch]:
    """All branches of the tools' schemas, in the order of the schemas."""
    found: list[Branch] = []
    for tool in tools:
        name = tool["function"]["name"]
        found.append(Branch(name, "", "tool", "called"))
        found += _branches(name, tool["function"].get("parameters") or {}, "")
    return found


def covered(tools: Sequence[Mapping[str, Any]], targets: Iterable[str]) -> list[Covered]:
    """Every branch with its examples; `targets` are JSON of assistant messages."""
    counts: Counter[Branch] = Counter()
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    for target in targets:
        for name, arguments in calls_in([json.loads(target)]):
            if name in schemas:
                counts.update({Branch(name, "", "tool", "called"), *_taken(name, schemas[name], arguments, "")})
    return [Covered(branch, counts[branch]) for branch in branches_of(tools)]


def thin(found: Sequence[Covered], wanted: int) -> list[Covered]:
    """Branches with under `wanted` examples, the emptiest first."""
    return sorted((one for one in found if one.examples < wanted), key=lambda one: one.examples)


def proposal(one: Covered, wanted: int) -> str:
    """What to collect so that a branch has its examples, one sentence."""
    branch, missing = one.branch, wanted - one.examples
    what = {
        "tool": f"{missing} more runs in which {branch.tool} is the right call",
        "enum": f"{missing} more calls of {branch.tool} with {branch.path} = {branch.value}",
        "boolean": f"{missing} more calls of {branch.tool} with {branch.path} = {branch.value}",
        "optional": f"{missing} more calls of {branch.tool} with {branch.path} {branch.value}",
        "format": f"{missing} more calls of {branch.tool} with {branch.path} in format {branch.value}",
    }[branch.kind]
    return f"{what} (has {one.examples})"


def _branches(tool: str, schema: Mapping[str, Any], path: str) -> Iterator[Branch]:
    for value in schema.get("enum") or []:
        yield Branch(tool, path, "enum", json.dumps(value))
    kinds = schema.get("type")
    if kinds == "boolean":
        yield from (Branch(tool, path, "boolean", value) for value in ("true", "false"))
    if "format" in schema:
        yield Branch(tool, path, "format", str(schema["format"]))
    for name, inner in (schema.get("properties") or {}).items():
        place = f"{path}.{name}" if path else name
        if name not in (schema.get("required") or []):
            yield from (Branch(tool, place, "optional", value) for value in ("given", "left out"))
        yield from _branches(tool, inner, place)
    if isinstance(schema.get("items"), dict):
        yield from _branches(tool, schema["items"], f"{path}[]")


def _taken(tool: str, schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Branch]:
    """The branches that one value takes."""
    if value in (schema.get("enum") or []):
        yield Branch(tool, path, "enum", json.dumps(value))
    if schema.get("type") == "boolean" and isinstance(value, bool):
        yield Branch(tool, path, "boolean", json.dumps(value))
    if "format" in schema:
        yield Branch(tool, path, "format", str(schema["format"]))
    if isinstance(value, dict):
        for name, inner in (schema.get("properties") or {}).items():
            place = f"{path}.{name}" if path else name
            if name not in (schema.get("required") or []):
                yield Branch(tool, place, "optional", "given" if name in value else "left out")
            if name in value:
                yield from _taken(tool, inner, value[name], place)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for inner in value:
            yield from _taken(tool, schema["items"], inner, f"{path}[]")
