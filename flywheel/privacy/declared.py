"""Declared fields: which arguments a pack's tools.json says hold personal data (`x-pii`), and their values in calls.

What goes here: reading the schemas and the arguments. What does not: replacing what was found (`swaps.py`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flywheel.chat.messages import Message
from flywheel.toolcalls.references import target

KEY = "x-pii"
Path = tuple[str, ...]
Fields = tuple[tuple[Path, str], ...]
_DEEPEST = 8
_SAME_PLACE = ("anyOf", "oneOf", "allOf")
# Keywords whose keys are names of somebody's, and keywords that hold values, not schemas.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "enum", "default", "examples", "example"})


def declared_fields(tool: dict[str, Any]) -> Fields:
    """The argument paths of a tool that hold personal data, and their kinds; a path's "*" stands for every list element."""
    return tuple(dict.fromkeys((path, kind) for path, kind, _ in _declared(tool)))


def declaration_problem(tool: dict[str, Any]) -> str | None:
    """Why an `x-pii` of a tool can never match a value, in one sentence; None where all can. The schema must be a valid one."""
    schema = tool["function"].get("parameters") or {}
    reached = {id(part) for _, _, part in _declared(tool)}
    for keys, part in _marked(schema, ("parameters",)):
        said = f"{KEY} in {'.'.join(keys)} can never match"
        if not isinstance(part[KEY], str) or not part[KEY]:
            return f"{said}: it names no kind"
        if id(part) not in reached:
            return f"{said}: no property or list element leads there"
        if not _takes_text(part, schema):
            return f"{said}: the value is no text"
    return None


def declared_values(messages: Sequence[Message], fields: dict[str, Fields]) -> Iterator[tuple[str, str]]:
    """(value, kind) of every declared field in the calls of a run; calls that are no JSON have none."""
    for message in messages:
        for call in message.tool_calls or []:
            if paths := fields.get(call.function.name):
                try:
                    arguments = json.loads(call.function.arguments)
                except (ValueError, RecursionError):
                    continue
                yield from values_at(arguments, paths)


def values_at(arguments: Any, fields: Fields) -> Iterator[tuple[str, str]]:
    """(value, kind) of every declared field in one call's arguments."""
    for path, kind in fields:
        yield from ((value, kind) for value in texts_at(arguments, path))


def texts_at(value: Any, path: Path) -> Iterator[str]:
    """The texts that stand at a path of a JSON value; "*" stands for every list element."""
    if not path:
        if isinstance(value, str):
            yield value
    elif path[0] == "*" and isinstance(value, list):
        for one in value:
            yield from texts_at(one, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from texts_at(value[path[0]], path[1:])


def _declared(tool: dict[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Path, kind and schema of every `x-pii` that a value can stand at; nothing is walked where there is none."""
    schema = tool["function"].get("parameters") or {}
    if any(True for _ in _marked(schema, ())):
        yield from _walk(schema, (), schema, set())


def _walk(
    schema: Any, path: Path, root: dict[str, Any], seen: set[tuple[Path, int]]
) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    if not isinstance(schema, dict) or len(path) > _DEEPEST or (path, id(schema)) in seen:
        return
    seen.add((path, id(schema)))  # a schema may lead back to itself
    if path and isinstance(schema.get(KEY), str):
        yield path, schema[KEY], schema
    for inner in _alternatives(schema, root):
        yield from _walk(inner, path, root, seen)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _walk(inner, (*path, name), root, seen)
    yield from _walk(schema.get("items"), (*path, "*"), root, seen)


def _alternatives(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[Any]:
    """Schemas of the very value that a schema is about."""
    for keyword in _SAME_PLACE:
        yield from schema.get(keyword) or []
    if isinstance(schema.get("$ref"), str):
        yield target(root, schema["$ref"])


def _marked(part: Any, keys: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every schema that says `x-pii`, wherever it stands, and the keys that lead to it."""
    if isinstance(part, list):
        for number, inner in enumerate(part):
            yield from _marked(inner, (*keys, str(number)))
    elif isinstance(part, dict):
        if KEY in part:
            yield keys, part
        for key, inner in part.items():
            if key in _NAMED and isinstance(inner, dict):
                for name, one in inner.items():
                    yield from _marked(one, (*keys, key, name))
            elif key not in _VALUES:
                yield from _marked(inner, (*keys, key))


def _takes_text(schema: Any, root: dict[str, Any], depth: int = 0) -> bool:
    """Whether a value that a schema accepts can be text; in doubt it can."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return schema is not False
    kinds = schema.get("type", "string")
    if "string" not in ([kinds] if isinstance(kinds, str) else kinds):
        return False

    def all_of(parts: Iterable[Any]) -> bool:
        return all(_takes_text(part, root, depth + 1) for part in parts)

    either = [schema[keyword] for keyword in ("anyOf", "oneOf") if schema.get(keyword)]
    if not all(any(_takes_text(part, root, depth + 1) for part in parts) for parts in either):
        return False
    behind = [target(root, schema["$ref"])] if isinstance(schema.get("$ref"), str) else []
    return all_of([*(schema.get("allOf") or []), *behind])
