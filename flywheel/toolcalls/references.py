"""Local references of a JSON Schema: what they point at, how far they expand, and how deep a recursive one can be checked.

A schema comes with a trace, so anybody may have written it: what checking it costs is bounded before it is compiled.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

CHECKS_LIMIT = 20_000_000  # about a second of the engine's work
_DEFINITIONS = ("$defs", "definitions")


def references(schema: Any) -> Iterable[str]:
    """Every `$ref` in a schema, definitions included."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def expanded_size(schema: Any) -> int:
    """Number of parts after all local references are written out; a reference inside itself counts once."""
    sizes: dict[str, int] = {}

    def size(part: Any) -> int:
        if isinstance(part, list):
            return sum(map(size, part))
        if not isinstance(part, dict):
            return 0
        own = 1 + sum(size(value) for key, value in part.items() if key not in _DEFINITIONS)
        reference = part.get("$ref")
        return own + (behind(reference) if isinstance(reference, str) else 0)

    def behind(reference: str) -> int:
        if reference not in sizes:
            sizes[reference] = 1
            sizes[reference] = size(target(schema, reference))
        return sizes[reference]

    return size(schema)


def depth_limit(schema: Any) -> int | None:
    """How deep an instance may be nested so that a recursive schema is checked in bounded time; None where any depth is fine.

    With r references that lead back to where they stand, each level may be checked r times as often as the one above it.
    """
    inside = {"#": list(_outside_definitions(schema))}
    waiting = list(inside["#"])
    while waiting:
        reference = waiting.pop()
        if reference not in inside:
            inside[reference] = list(_outside_definitions(target(schema, reference)))
            waiting += inside[reference]
    reached = {name: _reachable(name, inside) for name in inside}
    # References of parts that lead to each other and back, counted together.
    widest = max(
        sum(reference in reached[name] and name in reached[reference] for other in (reached[name] & _back_to(name, reached)) | {name}
            for reference in inside[other])
        for name in inside
    )  # fmt: skip
    return int(math.log(CHECKS_LIMIT) / math.log(widest)) if widest > 1 else None


def depth_of(value: Any) -> int:
    """How deep objects and arrays are nested; 0 for a scalar."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def target(schema: Any, reference: str) -> Any:
    """What a local JSON pointer or anchor points at; None for nothing, which the engine judges."""
    if reference != "#" and not reference.startswith("#/"):
        return _anchored(schema, reference[1:])
    part = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, list):
            part = part[int(key)] if key.isdigit() and int(key) < len(part) else None
        else:
            part = part.get(key) if isinstance(part, dict) else None
    return part


def _anchored(part: Any, name: str) -> Any:
    if isinstance(part, dict):
        if part.get("$anchor") == name:
            return part
        part = list(part.values())
    found = (_anchored(inner, name) for inner in part) if isinstance(part, list) else iter(())
    return next((one for one in found if one is not None), None)


def _outside_definitions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for key, value in part.items():
            if key not in _DEFINITIONS:
                yield from _outside_definitions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _outside_definitions(value)


def _reachable(name: str, inside: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(inside[name])
    while waiting:
        reference = waiting.pop()
        if reference not in found:
            found.add(reference)
            waiting += inside[reference]
    return found


def _back_to(name: str, reached: dict[str, set[str]]) -> set[str]:
    return {other for other, found in reached.items() if name in found}
