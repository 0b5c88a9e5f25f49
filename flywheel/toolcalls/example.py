"""An example of a schema: values that a tool accepts, for people who write cases and for the lint that fills in what does not matter.

Examples, defaults and constants of the schema come first; the rest is made from types and bounds. A pattern cannot be turned into a
text that matches it, so a tool with a required pattern and no example has none.
"""

from typing import Any

from flywheel.toolcalls.references import target
from flywheel.toolcalls.schema_check import check_arguments

_DEPTH = 12


def example_call(tool: dict[str, Any], *, optional: bool = False) -> dict[str, Any] | None:
    """Arguments that the tool accepts, required ones only unless `optional`; None where none could be made."""
    schema = tool["function"].get("parameters") or {}
    made = example_value(schema, schema, optional=optional)
    return made if isinstance(made, dict) and not check_arguments(tool, made) else None


def example_value(schema: Any, root: dict[str, Any], name: str = "", *, optional: bool = False, depth: int = 0) -> Any:
    """A value made for a schema, not yet checked against it; `name` is what a text is made of.

    Args:
        root: the whole document, which local references are looked up in.
        optional: object properties that are not required are made, too.
    """
    if not isinstance(schema, dict) or depth > _DEPTH:
        return f"{name or 'text'}-1"
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return example_value(target(root, reference), root, name, optional=optional, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    for given in (schema.get("examples"), [schema["default"]] if "default" in schema else None, schema.get("enum")):
        if isinstance(given, list) and given:
            return given[0]
    for choice in ("oneOf", "anyOf", "allOf"):
        if isinstance(schema.get(choice), list) and schema[choice] and "type" not in schema:
            return example_value(schema[choice][0], root, name, optional=optional, depth=depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((one for one in kinds if one != "null"), "null") if isinstance(kinds, list) else kinds
    if kind == "object":
        return _object(schema, root, optional, depth)
    if kind == "array":
        inner = schema.get("items")
        count = max(1, int(schema.get("minItems") or 0))
        return [example_value(inner, root, name, optional=optional, depth=depth + 1) for _ in range(min(count, 10))]
    return _plain(kind, schema, name)


def _object(schema: dict[str, Any], root: dict[str, Any], optional: bool, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    wanted = list(properties) if optional else [key for key in schema.get("required") or [] if isinstance(key, str)]
    return {key: example_value(properties.get(key), root, key, optional=optional, depth=depth + 1) for key in wanted}


def _plain(kind: str, schema: dict[str, Any], name: str) -> Any:
    if kind in ("integer", "number"):
        least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else 1)
        most = schema.get("maximum", least)
        value = min(least, most) if "minimum" not in schema else least
        step = schema.get("multipleOf")
        return value if not step else step * max(1, -(-value // step))
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    texts = {"date": "2026-01-05", "date-time": "2026-01-05T09:00:00Z", "time": "09:00:00", "email": "person@example.org",
             "uri": "https://example.org/", "uuid": "00000000-0000-4000-8000-000000000000"}  # fmt: skip
    text = texts.get(str(schema.get("format"))) or (
        "person@example.org" if "mail" in name.lower() else f"{name or 'text'}-1"
    )
    text = text.ljust(int(schema.get("minLength") or 0), "x")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text
