"""Are a call's arguments valid? `jsonschema`, set up so that it says what the form's engine (`jsonschema-rs`) says.

Resolved the same way: decimal `multipleOf`, ECMA patterns, formats as annotations, nothing fetched, bounded depth and work.
Differences that cannot be resolved make a schema unusable (`problem_of`); the export says so in the signed tools file, so the
partner never meets them.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import jsonschema
from jsonschema import validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from .matching import TooMuchWork, search
from .patterns import UnsupportedPattern, parse
from .strict import NotStrict, canonical
from .strict import parse as parse_json

_DIALECTS = ("https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema")
_NO_FORMATS = jsonschema.FormatChecker(formats=())


# How many references one check may follow; a schema that reaches one child twice would otherwise take for ever.
_REFERENCES = 20_000


class Problem(NamedTuple):
    """One reason why arguments are refused: the JSON path inside them, what was got and what was expected."""

    path: str
    got: str
    expected: str


def problem_of(schema: Any) -> str | None:
    """Why both engines might not judge alike under this schema, or None."""
    if not isinstance(schema, dict):
        return "it is no JSON object"
    dialect = str(schema.get("$schema", _DIALECTS[0])).rstrip("#")
    if dialect not in _DIALECTS:
        return f"its dialect {dialect[:80]} is not one of 2020-12 and draft-07"
    try:
        found = next(_unsupported(schema, dialect == _DIALECTS[1]), None)
        if found is None:
            # Without formats: Python's own idea of a regular expression is not asked.
            checker: Any = validators.validator_for(schema, default=_HOUSE)
            checker.check_schema(schema, format_checker=_NO_FORMATS)
        return found
    except SchemaError as error:
        return f"invalid JSON Schema: {error.message[:200]}"
    except (RecursionError, re.error, ValueError) as error:
        return f"it cannot be read: {type(error).__name__}"


def check_arguments(schema: dict[str, Any], raw: str) -> list[Problem]:
    """All reasons why the string `raw` (as `function.arguments` has it) is invalid; empty when it is valid."""
    try:
        value = parse_json(raw, unique_keys=False)
    except NotStrict as error:
        return [Problem("", _shown(raw), f"one JSON object ({error})")]
    if not isinstance(value, dict):
        return [Problem("", _shown(value), "a JSON object")]
    return check_value(schema, value)


def check_value(schema: dict[str, Any], value: Any) -> list[Problem]:
    """The same for a parsed value and any schema."""
    _followed[0] = 0
    try:
        found = [_problem(error) for error in _validator(schema).iter_errors(value)]
    except (RecursionError, TooMuchWork, UnsupportedPattern) as error:
        return [Problem("", _shown(value), f"arguments that can be checked in bounded work ({error})"[:200])]
    except Exception as error:  # a reference to nothing: `referencing` has no one base class for it that stays
        return [Problem("", _shown(value), f"a schema that can be resolved ({type(error).__name__})")]
    return sorted(set(found))


def _problem(error: ValidationError) -> Problem:
    keyword = str(error.validator)
    wanted = error.validator_value
    if keyword == "required" and isinstance(error.instance, dict) and isinstance(wanted, list):
        wanted = [name for name in wanted if name not in error.instance]
    elif keyword == "additionalProperties" and wanted is False and isinstance(error.schema, dict):
        keyword, wanted = "no other argument than", sorted(error.schema.get("properties", {}))
    return Problem("/".join(map(str, error.absolute_path)), _shown(error.instance), f"{keyword} {_shown(wanted)}")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _unsupported(schema: Any, draft_7: bool) -> Iterator[str]:
    """Every part that the two engines would not judge alike."""
    if isinstance(schema, list):
        for part in schema:
            yield from _unsupported(part, draft_7)
    if not isinstance(schema, dict):
        return
    for key in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = schema.get(key)
        if isinstance(reference, str) and not reference.startswith("#"):
            yield f"{key} {reference[:80]!r} leaves the document"
    patterns = list(schema["patternProperties"]) if isinstance(schema.get("patternProperties"), dict) else []
    patterns += [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    for pattern in patterns:
        try:
            parse(pattern)
        except UnsupportedPattern as error:
            yield f"the pattern {pattern[:80]!r} has {error}"
    if draft_7 and (isinstance(schema.get("contentEncoding"), str) or isinstance(schema.get("contentMediaType"), str)):
        yield "draft-07 content keywords are checked by one engine only"
    if patterns and "unevaluatedProperties" in schema:
        yield "unevaluatedProperties beside patterns"
    for part in schema.values():
        yield from _unsupported(part, draft_7)


def _multiple_of(validator: Any, divisor: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """As written in decimal: 19.99 is a multiple of 0.01, which floats deny."""
    if validator.is_type(instance, "number") and Fraction(repr(instance)) % Fraction(repr(divisor)):
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not search(pattern, instance):
        yield ValidationError(f"it does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, inner in patterns.items():
            for key, value in instance.items():
                if search(pattern, key):
                    yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [key for key in instance if key not in named and not any(search(pattern, key) for pattern in patterns)]
    if isinstance(inner, dict):
        for key in extra:
            yield from validator.descend(instance[key], inner, path=key)
    elif inner is False and extra:
        yield ValidationError(f"additional properties: {extra}")


_followed = [0]


def _counted(follow: Any) -> Any:
    def reference(validator: Any, target: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _followed[0] += 1
        if _followed[0] > _REFERENCES:
            raise TooMuchWork(f"more than {_REFERENCES:,} references to follow")
        yield from follow(validator, target, instance, schema)

    return reference


def _house(base: Any) -> Any:
    own = {"$ref": _counted(base.VALIDATORS["$ref"]), "multipleOf": _multiple_of, "pattern": _pattern, "patternProperties": _pattern_properties,
           "additionalProperties": _additional_properties}  # fmt: skip
    return validators.extend(base, own)


_HOUSE, _HOUSE_7 = _house(jsonschema.Draft202012Validator), _house(jsonschema.Draft7Validator)


def _validator(schema: dict[str, Any]) -> Any:
    dialect = str(schema.get("$schema", "")).rstrip("#")
    return (_HOUSE_7 if dialect == _DIALECTS[1] else _HOUSE)(schema, registry=Registry())
