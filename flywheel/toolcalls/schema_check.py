"""Is a tool call valid? The check that triage, corrections, datasets and evaluation share.

Engine: `jsonschema`, Draft 2020-12, one cached validator a tool. Schemas must be self-contained: a `$ref` that leaves
the document is refused when the pack is loaded, so nothing is ever fetched.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError as InvalidSchema
from jsonschema.exceptions import ValidationError

from flywheel.toolcalls.arguments import canonical_json, parse_arguments

_KIND_BY_KEYWORD = {
    "required": "missing_required",
    "additionalProperties": "unexpected_argument",
    "type": "wrong_type",
    "enum": "not_in_enum",
    "const": "not_in_enum",
}


class SchemaError(NamedTuple):
    """One reason a call is invalid: its kind, the JSON path inside the arguments, and a sentence."""

    kind: str
    path: str
    message: str


def tool_names(tools: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the tools, in order."""
    return [tool["function"]["name"] for tool in tools]


def check_call(tools: list[dict[str, Any]], name: str, arguments_raw: Any) -> list[SchemaError]:
    """All reasons why calling `name` with `arguments_raw` is invalid under `tools`; empty when it is valid.

    Kinds: invalid_json, not_an_object, unknown_tool, missing_required, unexpected_argument, wrong_type, not_in_enum,
    other. `arguments_raw` is the string the model emitted (an object is accepted too).
    """
    schema = next((tool["function"].get("parameters", {}) for tool in tools if tool["function"]["name"] == name), None)
    if schema is None:
        return [SchemaError("unknown_tool", "", f"no tool named {name!r}; known: {', '.join(tool_names(tools))}")]
    parsed = parse_arguments(arguments_raw)
    if parsed.value is None:
        kind = "not_an_object" if "not an object" in str(parsed.error) else "invalid_json"
        return [SchemaError(kind, "", str(parsed.error))]
    errors = _validator(canonical_json(schema)).iter_errors(parsed.value)
    return sorted(_describe(error) for error in errors)


def schema_problem(schema: Any) -> str | None:
    """Why `schema` is no usable parameter schema, or None: it must be a valid, self-contained object schema."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return 'parameters must be a JSON Schema with "type": "object"'
    try:
        Draft202012Validator.check_schema(schema)
    except InvalidSchema as error:
        return f"invalid JSON Schema at {'/'.join(map(str, error.absolute_path)) or 'the top'}: {error.message}"
    remote = [reference for reference in _references(schema) if not reference.startswith("#")]
    return f"$ref {remote[0]!r} leaves the document; only local references are allowed" if remote else None


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))


def _describe(error: ValidationError) -> SchemaError:
    kind = _KIND_BY_KEYWORD.get(str(error.validator), "other")
    return SchemaError(kind, "/".join(map(str, error.absolute_path)), error.message[:300])
