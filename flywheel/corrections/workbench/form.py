"""From a tool's JSON Schema and a call's arguments to the fields of a form.

Drawn: strings, numbers, integers, booleans, enums and constants, arrays, nested objects, local references, and the two
ways of writing "or null". Everything else becomes a box for JSON: whatever is drawn, the validator of triage judges. A
value that a field cannot hold (another type, a megabyte, a lone carriage return) is *kept*: shown, and left as it is
until somebody types over it. `answers` is the inverse.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeGuard

from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.diff import equal

Path = tuple[str | int, ...]
Widget = Literal["text", "area", "number", "choice", "typeahead", "object", "array", "json"]
State = Literal["given", "absent", "null", "keep"]
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
NUMBER_KEYS = 9
LONGEST = 20_000
_DEEPEST = 6
_HINTS = ("format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "multipleOf",
          "minItems", "maxItems", "uniqueItems")  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What a schema asks for, after references and "or null" are resolved."""

    widget: Widget
    schema: Mapping[str, Any]
    nullable: bool = False
    integer: bool = False
    options: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Field:
    """One field as a template draws it; objects and arrays have children.

    Attributes:
        path: keys and indices inside the arguments.
        text: what the input holds; for a choice the index of the chosen option.
        state: whether the value is given, absent, null, or kept as it is.
        unexpected: the schema does not know this key.
        offered: values seen earlier in the run, the likeliest first.
    """

    path: Path
    widget: Widget
    text: str = ""
    state: State = "absent"
    required: bool = False
    nullable: bool = False
    unexpected: bool = False
    options: tuple[str, ...] = ()
    children: tuple["Field", ...] = ()
    hint: str = ""
    description: str = ""
    offered: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The last step of the path, as people read it."""
        step = self.path[-1] if self.path else ""
        return f"{step + 1}." if isinstance(step, int) else step

    @property
    def name(self) -> str:
        """The path as a JSON pointer: what a posted field is named after its prefix."""
        return pointer(self.path)


def pointer(path: Path) -> str:
    """A path as a JSON pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


Offers = Callable[[Path, Shape], tuple[str, ...]]


def draw(
    parameters: Mapping[str, Any],
    arguments: Any,
    *,
    unread: Mapping[str, str] | None = None,
    offers: Offers | None = None,
) -> tuple[Field, ...] | None:
    """The form of a tool's arguments; None when it cannot be drawn as a whole and JSON has to be written.

    Args:
        unread: JSON pointer -> text that was typed into a JSON box and is no JSON yet.
        offers: values to offer for a field.
    """
    shape = shape_of(parameters, parameters)
    if shape.widget != "object" or not isinstance(arguments, dict):
        return None
    drawing = _Drawing(parameters, unread or {}, offers or (lambda path, shape: ()))
    return drawing.children(shape, (), arguments)


def shape_of(schema: Any, root: Any, depth: int = 0) -> Shape:
    """What to draw for a schema inside `root`; a JSON box where nothing else fits."""
    schema, nullable = _resolved(schema, root)
    if schema is None or depth > _DEEPEST:
        return Shape("json", {})
    if "enum" in schema or "const" in schema:
        options = tuple(schema["enum"]) if isinstance(schema.get("enum"), list) else (schema.get("const"),)
        return Shape("choice" if len(options) <= NUMBER_KEYS else "typeahead", schema, nullable, options=options)
    kind = schema.get("type") or ("object" if "properties" in schema else None)
    if kind == "boolean":
        return Shape("choice", schema, nullable, options=(True, False))
    if kind in ("integer", "number"):
        return Shape("number", schema, nullable, integer=kind == "integer")
    if kind == "string":
        long = (schema.get("maxLength") or 0) > 200 or schema.get("contentMediaType")
        return Shape("area" if long else "text", schema, nullable)
    if kind == "object" and isinstance(schema.get("properties"), dict):
        return Shape("object", schema, nullable)
    if kind == "array" and isinstance(schema.get("items"), dict) and "prefixItems" not in schema:
        return Shape("array", schema, nullable)
    return Shape("json", schema, nullable)


@dataclass(frozen=True)
class _Drawing:
    root: Mapping[str, Any]
    unread: Mapping[str, str]
    offers: Offers

    def children(self, shape: Shape, path: Path, value: Any) -> tuple[Field, ...]:
        held = value if isinstance(value, dict) else {}
        properties, required = shape.schema["properties"], shape.schema.get("required") or ()
        known = [
            self.field((*path, key), schema, held.get(key, MISSING), required=key in required)
            for key, schema in properties.items()
        ]
        extra = [self._boxed((*path, key), held[key], unexpected=shape.schema.get("additionalProperties") is False)
                 for key in held if key not in properties]  # fmt: skip
        return (*known, *extra)

    def field(self, path: Path, schema: Any, value: Any, *, required: bool) -> Field:
        shape = shape_of(schema, self.root, len(path))
        if shape.widget == "json":
            return self._boxed(path, value, required=required, shape=shape)
        text, state = shown(shape, value)
        children: tuple[Field, ...] = ()
        if shape.widget == "object" and state != "keep":
            children = self.children(shape, path, value)
        if shape.widget == "array" and state == "given":
            children = tuple(
                self.field((*path, i), shape.schema["items"], one, required=True) for i, one in enumerate(value)
            )
        widget: Widget = "area" if shape.widget == "text" and ("\n" in text or len(text) > 90) else shape.widget
        return Field(
            path, widget, text, state, required, shape.nullable, False, tuple(map(option_text, shape.options)), children,
            _hint(shape), str(shape.schema.get("description") or ""), self.offers(path, shape),
        )  # fmt: skip

    def _boxed(
        self, path: Path, value: Any, *, required: bool = False, unexpected: bool = False, shape: Shape | None = None
    ) -> Field:
        if (typed := self.unread.get(pointer(path))) is not None:
            text, state = typed, "given"
        elif value is MISSING:
            text, state = "", "absent"
        else:
            text = canonical_json(value)
            state = "given" if fits_a_field(text) else "keep"
        description = str(shape.schema.get("description") or "") if shape else ""
        return Field(path, "json", text[:LONGEST], state, required, unexpected=unexpected, hint="JSON", description=description)  # fmt: skip


def shown(shape: Shape, value: Any) -> tuple[str, State]:
    """What an input holds for a value, and the field's state."""
    if value is MISSING:
        return "", "absent"
    if value is None and shape.nullable:
        return "", "null"
    if shape.widget == "object" or shape.widget == "array":
        fits = isinstance(value, dict if shape.widget == "object" else list)
        return ("", "given") if fits else (_short(value), "keep")
    if shape.options:
        index = next((i for i, option in enumerate(shape.options) if equal(option, value)), None)
        if index is None:
            return (value, "given") if shape.widget == "typeahead" and _is_plain(value) else (_short(value), "keep")
        return (option_text(shape.options[index]) if shape.widget == "typeahead" else str(index)), "given"
    if shape.widget == "number":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return (canonical_json(value), "given") if number else (_short(value), "keep")
    return (value, "given") if _is_plain(value) else (_short(value), "keep")


def option_text(option: Any) -> str:
    """An enum value as it is shown and typed: strings bare, everything else as JSON."""
    return option if isinstance(option, str) else canonical_json(option)


def fits_a_field(text: str) -> bool:
    """Whether a browser gives the text back as it was: not too long, no carriage return, no half of a surrogate pair."""
    return (
        len(text) <= LONGEST
        and "\r" not in text
        and "\0" not in text
        and not any("\ud800" <= c <= "\udfff" for c in text)
    )


def _is_plain(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and fits_a_field(value)


def _short(value: Any) -> str:
    return canonical_json(value)[:LONGEST].encode(errors="replace").decode()


def _hint(shape: Shape) -> str:
    kind = "integer" if shape.integer else "number" if shape.widget == "number" else ""
    named = [f"{key} {shape.schema[key]}" for key in _HINTS if key in shape.schema]
    return ", ".join([kind, *named] if kind else named)


def _resolved(schema: Any, root: Any) -> tuple[dict[str, Any] | None, bool]:
    """The schema without local references and "or null", and whether null is allowed; None where that is not possible."""
    nullable = False
    for _ in range(_DEEPEST):
        if not isinstance(schema, dict):
            return None, nullable
        if isinstance(reference := schema.get("$ref"), str):
            target = _at(root, reference)
            schema = (
                {**target, **{k: v for k, v in schema.items() if k != "$ref"}} if isinstance(target, dict) else None
            )
            continue
        kinds = schema.get("type")
        if isinstance(kinds, list):
            rest = [kind for kind in kinds if kind != "null"]
            if len(rest) != 1:
                return None, nullable
            schema, nullable = {**schema, "type": rest[0]}, nullable or len(rest) < len(kinds)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if "type" in schema or "enum" in schema or not isinstance(branches, list):
            return schema, nullable
        rest = [branch for branch in branches if branch != {"type": "null"}]
        if len(rest) != 1 or len(rest) == len(branches):
            return None, nullable
        schema, nullable = {**rest[0], **{k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}}, True
    return None, nullable


def _at(root: Any, reference: str) -> Any:
    if not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        root = root.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(root, dict) else None
    return root


@lru_cache(maxsize=4096)
def tool_parameters(text: str) -> dict[str, Any]:
    """Parameters of a tool from its canonical JSON, parsed once."""
    return json.loads(text)
