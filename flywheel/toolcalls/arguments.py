"""Canonical JSON, hashes and the parsing of a call's arguments.

What goes here: the one way JSON is written, hashed and read. What does not: schemas (`schema_check.py`).
"""

import hashlib
import io
import json
from typing import Any, NamedTuple

import msgspec

from flywheel.toolcalls.references import depth_of

DEEPEST = 128  # the template that takes most of Python's stack a level (gemma4) ends at 150
decode = msgspec.json.Decoder().decode
# Encoders are kept: `json.dumps` with options makes one for every call, which costs more than a short text.
_canonical = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_hashed = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def canonical_json(value: Any) -> str:
    """JSON text of `value`: key order kept, non-ASCII kept, NaN and infinities refused (ValueError)."""
    return _canonical(value)


def whole_lines(text: str) -> list[str]:
    """Lines of a file of JSON lines, with their ends. Parted at the newline alone: `splitlines` also parts at U+2028, U+2029 and U+0085, which
    may stand inside a JSON string, and half a line is no line."""
    return list(io.StringIO(text, newline="\n"))


def sha256_of(value: Any) -> str:
    """Hex SHA-256 of `value` as JSON with sorted keys, so that key order does not change an id."""
    return hashlib.sha256(_hashed(value).encode()).hexdigest()


class ParsedArguments(NamedTuple):
    """Arguments of one call: the object, or why there is none."""

    value: dict[str, Any] | None
    error: str | None


def parse_arguments(raw: Any) -> ParsedArguments:
    """Read `function.arguments` as a model emitted it.

    An object is accepted as it is; a string must hold one JSON object. Never raises: unparsable arguments are a failure
    class that triage wants to see, so the reason is returned instead.
    """
    if isinstance(raw, dict):
        return ParsedArguments(raw, None)
    if not isinstance(raw, str):
        return ParsedArguments(None, f"arguments are {type(raw).__name__}, not a JSON string")
    try:
        value = decode(raw)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return ParsedArguments(None, f"not valid JSON: {error}")
    except RecursionError:
        return ParsedArguments(None, "not valid JSON: nested too deep")
    if not isinstance(value, dict):
        return ParsedArguments(None, f"arguments are a JSON {type(value).__name__}, not an object")
    if too_deep(raw, value):
        return ParsedArguments(None, f"not valid JSON: nested too deep, over {DEEPEST} levels")
    return ParsedArguments(value, None)


def too_deep(raw: str, value: Any) -> bool:
    """Whether a value read from `raw` is nested deeper than templates and encoders, which go down by recursion, can follow."""
    return raw.count("{") + raw.count("[") > DEEPEST and depth_of(value) > DEEPEST
