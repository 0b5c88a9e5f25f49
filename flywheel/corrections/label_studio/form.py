"""A tool's arguments as text fields, and the texts as arguments again: what a form that knows no types can carry.

A text that was not touched gives the very value it was made from; a changed one is read by the types the schema allows.
"""

import json
import re
from typing import Any, NamedTuple

from flywheel.corrections.handoff.verify.strict import NotStrict, parse


class Field(NamedTuple):
    """One top-level argument of a tool: the control's name in the project, the argument's name, its schema, and whether it is required."""

    control: str
    name: str
    schema: dict[str, Any]
    required: bool


class Unfit(ValueError):
    """The text is no value of the argument's types; says what was expected."""


def fields_of(parameters: dict[str, Any]) -> list[Field]:
    """The text fields of a tool, in the order of its properties; references inside the schema are followed."""
    properties = parameters.get("properties")
    required = parameters.get("required")
    return [
        Field(
            f"arg_{number}",
            name,
            _resolved(schema, parameters),
            name in (required if isinstance(required, list) else []),
        )
        for number, (name, schema) in enumerate(properties.items() if isinstance(properties, dict) else ())
    ]


def first_call(messages: list[dict[str, Any]], index: int) -> dict[str, Any] | None:
    """The first call of a step (id, function), or None where it only speaks."""
    calls = messages[index].get("tool_calls") or []
    return calls[0] if calls else None


def arguments_of(call: dict[str, Any] | None) -> dict[str, Any]:
    """What the model gave the call; empty where it gave no JSON object."""
    try:
        value = parse(call["function"]["arguments"], unique_keys=False) if call else {}
    except NotStrict:
        return {}
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str:
    """An argument as the text of its field."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def described(field: Field) -> str:
    """The field's label: name, what it takes, and whether it may stay empty."""
    return f"{field.name}: {expected(field.schema)}{'' if field.required else ', may stay empty'}"


def expected(schema: dict[str, Any]) -> str:
    """What a text must be to fit, in a few words."""
    if isinstance(schema.get("enum"), list):
        return "one of " + ", ".join(text_of(value) for value in schema["enum"])[:200]
    types = _types(schema)
    words = {"object": "a JSON object", "array": "a JSON list", "string": "text", "integer": "a whole number", "number": "a number",
             "boolean": "true or false", "null": "null"}  # fmt: skip
    return " or ".join(words.get(kind, kind) for kind in types) or "text or JSON"


def value_of(text: str, schema: dict[str, Any], before: Any = None) -> Any:
    """The argument a text stands for; raises Unfit.

    Args:
        before: what the model gave; an unchanged text gives it back, whatever its type.
    """
    if before is not None and text == text_of(before):
        return before
    if isinstance(schema.get("enum"), list):
        return _chosen(text.strip(), schema["enum"], schema)
    types = _types(schema)
    for kind in ("null", "boolean", "integer", "number", "object", "array"):
        found = _read(text.strip(), kind) if kind in types else _NONE
        if found is not _NONE and not (kind in ("boolean", "integer", "number") and "string" in types):
            return found
    if "string" in types:
        return text
    if types:
        raise Unfit(expected(schema))
    found = _json(text.strip())
    return text if found is _NONE else found


_NONE = object()


def _chosen(text: str, values: list[Any], schema: dict[str, Any]) -> Any:
    for value in values:
        if text == text_of(value):
            return value
    raise Unfit(expected(schema))


def _read(text: str, kind: str) -> Any:
    if kind == "null":
        return None if text == "null" else _NONE
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), _NONE)
    if kind == "integer":
        return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,30})", text) else _NONE
    value = _json(text)
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else _NONE
    return value if isinstance(value, dict if kind == "object" else list) else _NONE


def _json(text: str) -> Any:
    try:
        return parse(text)
    except NotStrict:
        return _NONE


def _types(schema: dict[str, Any]) -> list[str]:
    """Types a schema allows by `type`, or by the types of its alternatives; empty when it names none."""
    named = schema.get("type")
    if isinstance(named, str):
        return [named]
    if isinstance(named, list):
        return [kind for kind in named if isinstance(kind, str)]
    found: list[str] = []
    for key in ("anyOf", "oneOf"):
        for inner in schema.get(key) or []:
            found += _types(inner) if isinstance(inner, dict) else []
    return sorted(set(found))


def _resolved(schema: Any, root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The schema behind a local reference, alternatives included; one that leads nowhere allows anything here, and `verify` judges."""
    if not isinstance(schema, dict) or depth > 8:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        part: Any = root
        for step in reference[2:].split("/"):
            part = part.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
        return _resolved(part, root, depth + 1)
    made = dict(schema)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            made[key] = [_resolved(inner, root, depth + 1) for inner in schema[key]]
    return made
