"""Is a tool call valid? The check that triage, corrections, datasets and evaluation share.

Engine: `jsonschema-rs`, one cached validator a schema; `jsonschema` is the oracle in the tests, which pin where they
differ. Nothing is fetched (offline), patterns have a backtrack limit, a schema whose local references expand past
`EXPANSION_LIMIT` is refused, and arguments too deep for a recursive schema are not checked (references.py).
"""

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from flywheel.toolcalls.arguments import canonical_json, decode, parse_arguments, too_deep
from flywheel.toolcalls.references import depth_limit, depth_of, expanded_size, references

EXPANSION_LIMIT = 100_000
_BACKTRACK_LIMIT = 10_000
_TOO_DEEP = "it is nested too deep to be checked"
_KIND_BY_KEYWORD = {
    "required": "missing_required",
    "additionalProperties": "unexpected_argument",
    "type": "wrong_type",
    "enum": "not_in_enum",
    "const": "not_in_enum",
    "constant": "not_in_enum",
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
    unusable_schema (the tool's fault, not the caller's), other. `arguments_raw` is the string the model emitted (an
    object is accepted too). Formats are annotations, as the specification's default has it.
    """
    tool = next((tool for tool in tools if tool["function"]["name"] == name), None)
    if tool is None:
        return [SchemaError("unknown_tool", "", f"no tool named {name!r}; known: {', '.join(tool_names(tools))}")]
    return check_arguments(tool, arguments_raw)


def check_arguments(tool: dict[str, Any], arguments_raw: Any) -> list[SchemaError]:
    """The same for a known tool; its schema is compiled once, for as long as the same `tool` object is given."""
    name = tool["function"]["name"]
    parsed = parse_arguments(arguments_raw)
    if parsed.value is None:
        kind = "not_an_object" if "not an object" in str(parsed.error) else "invalid_json"
        return [SchemaError(kind, "", str(parsed.error))]
    compiled = _compiled(tool)
    if isinstance(compiled, str):
        return [SchemaError("unusable_schema", "", f"the schema of {name}: {compiled}")]
    validator, limit = compiled
    if limit is not None and (depth := depth_of(parsed.value)) > limit:
        said = f"the schema of {name} is recursive: {limit} levels can be checked, the arguments have {depth}"
        return [SchemaError("unusable_schema", "", said)]
    try:
        if validator.is_valid(parsed.value):
            return []
        return sorted({_describe(error) for error in validator.iter_errors(parsed.value)})
    except ValueError as error:  # nested past the engine's depth, or text that is no Unicode
        return [SchemaError("other", "", f"the arguments cannot be checked: {error}"[:300])]


def acceptor(tool: dict[str, Any]) -> Callable[[str], bool]:
    """Says of arguments whether `check_arguments` has nothing to object to: half the work, for loops where most calls are valid."""
    compiled = _compiled(tool)
    if isinstance(compiled, str) or compiled.depth_limit is not None:
        return lambda arguments_raw: not check_arguments(tool, arguments_raw)
    is_valid = compiled.validator.is_valid

    def accepts(arguments_raw: str) -> bool:
        try:
            value = decode(arguments_raw)
            return type(value) is dict and not too_deep(arguments_raw, value) and is_valid(value)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return False

    return accepts


def schema_problem(schema: Any) -> str | None:
    """Why `schema` is no usable parameter schema, or None: it must be a valid, self-contained object schema."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return 'parameters must be a JSON Schema with "type": "object"'
    compiled = _compile_shallow(schema)
    return compiled if isinstance(compiled, str) else None


# By identity of the tool, which callers keep for thousands of calls; the tool is held, so that its id stays its own.
_by_tool: dict[int, tuple[dict[str, Any], "Compiled | str"]] = {}


class Compiled(NamedTuple):
    """A schema ready to judge, and how deep arguments may be nested for it to end in time; None for any depth."""

    validator: jsonschema_rs.Validator
    depth_limit: int | None


def _compiled(tool: dict[str, Any]) -> Compiled | str:
    known = _by_tool.get(id(tool))
    if known is not None and known[0] is tool:
        return known[1]
    if len(_by_tool) > 10_000:
        _by_tool.clear()
    compiled = _compile_shallow(tool["function"].get("parameters") or {})
    _by_tool[id(tool)] = (tool, compiled)
    return compiled


def _compile_shallow(schema: Any) -> Compiled | str:
    try:
        return _compile(canonical_json(schema))
    except RecursionError:
        return _TOO_DEEP


@lru_cache(maxsize=10_000)
def _compile(text: str) -> Compiled | str:
    """The compiled schema, or why there is none; compiling takes tens of microseconds."""
    schema = json.loads(text)
    try:
        remote = [reference for reference in references(schema) if not reference.startswith("#")]
        if remote:
            return f"$ref {remote[0]!r} leaves the document; only local references are allowed"
        if (size := expanded_size(schema)) > EXPANSION_LIMIT:
            return f"its references expand to {size:,} parts; at most {EXPANSION_LIMIT:,} are checked"
    except RecursionError:
        return _TOO_DEEP
    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT)
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, validate_formats=False, pattern_options=options)
        return Compiled(validator, depth_limit(schema))
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return f"invalid JSON Schema: {(str(error).splitlines() or [type(error).__name__])[0][:300]}"


def _describe(error: jsonschema_rs.ValidationError) -> SchemaError:
    kind = _KIND_BY_KEYWORD.get(error.kind.name, "other")
    return SchemaError(kind, "/".join(map(str, error.instance_path)), error.message[:300])
