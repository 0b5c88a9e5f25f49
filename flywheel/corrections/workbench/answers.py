"""From the posted fields of a form back to a call's arguments: the inverse of `form`.

Four kinds of posted names, each followed by a JSON pointer: `s:` the state, `v:` the value, `n:` an array's length. A
field that was not posted, or is kept, stays what it was. Nothing is judged here: a text where a number belongs becomes
that text, and the validator says what is wrong with it.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from flywheel.corrections.workbench.form import MISSING, Path, Shape, option_text, pointer, shape_of

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d+)?(?:[eE][+-]?\d{1,4})?")
_MOST_ELEMENTS = 1_000


class Answers(NamedTuple):
    """What was read: the arguments, and JSON pointer -> text for boxes that hold no JSON (their old value stays)."""

    arguments: dict[str, Any]
    unread: dict[str, str]


def read(parameters: Mapping[str, Any], posted: Mapping[str, str], base: dict[str, Any]) -> Answers:
    """The arguments a form says.

    Args:
        posted: names and texts as the browser sent them.
        base: the arguments the form was drawn from.
    """
    reader = _Reader(parameters, posted, {})
    return Answers(reader.members(shape_of(parameters, parameters), (), base), reader.unread)


class _Reader(NamedTuple):
    root: Mapping[str, Any]
    posted: Mapping[str, str]
    unread: dict[str, str]

    def members(self, shape: Shape, path: Path, base: Any) -> dict[str, Any]:
        held = base if isinstance(base, dict) else {}
        properties = shape.schema.get("properties") or {}
        found: dict[str, Any] = {}
        for key in [*properties, *(key for key in held if key not in properties)]:
            inner = shape_of(properties[key], self.root, len(path) + 1) if key in properties else Shape("json", {})
            value = self.value(inner, (*path, key), held.get(key, MISSING))
            if value is not MISSING:
                found[key] = value
        return found

    def value(self, shape: Shape, path: Path, base: Any) -> Any:
        name = pointer(path)
        state = self.posted.get(f"s:{name}")
        text = self.posted.get(f"v:{name}", "").replace("\r\n", "\n")
        if state is None or (state == "keep" and (not text or shape.widget not in ("choice",))):
            return base
        if shape.widget == "object":
            return self._object(shape, path, base, state)
        if shape.widget == "array":
            return self._array(shape, path, base, state)
        if not text and state == "null":
            return None
        if not text and (state == "absent" or shape.widget not in ("text", "area")):
            # An empty text that no option is was there before, and nobody touched it.
            return base if shape.widget == "typeahead" and state == "given" and base == "" else MISSING
        return self._scalar(shape, name, text, base)

    def _scalar(self, shape: Shape, name: str, text: str, base: Any) -> Any:
        if shape.widget == "choice":
            chosen = int(text) if text.isdecimal() else -1
            return shape.options[chosen] if 0 <= chosen < len(shape.options) else base
        if shape.widget == "typeahead":
            return next((option for option in shape.options if option_text(option) == text), text)
        if shape.widget == "number":
            return _number(text)
        if shape.widget == "json":
            try:
                return json.loads(text, parse_constant=_refuse_constant)
            except (ValueError, RecursionError):
                self.unread[name] = text
                return base
        return text

    def _object(self, shape: Shape, path: Path, base: Any, state: str) -> Any:
        found = self.members(shape, path, base if state == "given" else {})
        if found or state == "given":
            return found
        return None if state == "null" else MISSING

    def _array(self, shape: Shape, path: Path, base: Any, state: str) -> Any:
        if state != "given":
            return None if state == "null" else MISSING
        count = self.posted.get(f"n:{pointer(path)}", "")
        held = base if isinstance(base, list) else []
        length = min(int(count), _MOST_ELEMENTS) if count.isdecimal() else len(held)
        inner = shape_of(shape.schema["items"], self.root, len(path) + 1)
        values = [self.value(inner, (*path, i), held[i] if i < len(held) else MISSING) for i in range(max(length, 0))]
        return [value for value in values if value is not MISSING]


def _number(text: str) -> Any:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return text
    value = json.loads(text)
    return value if math.isfinite(value) else text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
