"""BFCL v4's check of calls by their syntax tree, for comparison with published numbers; never the score that decides.

Follows `ast_checker.py` of bfcl-eval 2026.3.23 (Python categories) rule by rule, lossy string comparison included, on parsed JSON:
nothing is ever evaluated as code. Held against that file on 200,000 random calls it agreed on all that the file did not crash on. What it gets wrong by design, and the typed matchers do not: strings are compared without
` ,./-_*^` and upper case, so 1.5 = 15, -5 = 5, a_b = ab and 2024-11-2 = 2024-1-12; types are checked one level deep; the
first calls that fit are paired; 1 == True inside lists and objects, as in Python.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.benchmark.cases import ExpectedCall
from flywheel.benchmark.matchers import Call

Answers = Mapping[str, Sequence[Any]]
# BFCL's names and their JSON Schema equals.
_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "number": float, "boolean": bool, "array": list, "tuple": list,
    "dict": dict, "object": dict, "any": str,
}  # fmt: skip
_DELETED = re.compile(r"[ ,./\-_*^]")


def bfcl_match(expected: Sequence[tuple[str, Answers]], made: Sequence[Call], tools: list[dict[str, Any]]) -> bool:
    """Whether BFCL would pass these calls: as many as expected, each expected one met by a call not yet used.

    Args:
        expected: name and per parameter the acceptable values; "" among them means that it may be left out.
        made: the calls, with parsed arguments.
        tools: OpenAI functions; their parameters give the types.
    """
    if len(expected) != len(made):
        return False
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
    left = list(made)
    for name, answers in expected:
        places = enumerate(left)
        fits = (n for n, call in places if call.name == name and _call_fits(call, answers, schemas.get(name, {})))
        found = next(fits, None)
        if found is None:
            return False
        left.pop(found)  # by place: as objects, a call with true equals one with 1
    return True


def possible_answers(call: ExpectedCall) -> Answers | None:
    """A case's matchers as BFCL writes them; None where one has no equal there (`regex`, `ignore`, `set`)."""
    answers: dict[str, list[Any]] = {}
    for parameter, matcher in call.arguments.items():
        kind = next((name for name in ("exact", "one_of", "casefold", "normalised_text") if name in matcher), None)
        if kind is None:
            return None
        values = matcher["one_of"] if kind == "one_of" else [matcher[kind]]
        answers[parameter] = [_nested(value) for value in values] + ([""] if matcher.get("may_omit") else [])
    return answers


def _nested(value: Any) -> Any:
    """Values inside an object are lists of acceptable values too."""
    if isinstance(value, dict):
        return {key: [_nested(inner)] for key, inner in value.items()}
    return [_nested(inner) for inner in value] if isinstance(value, list) else value


def _call_fits(call: Call, answers: Answers, schema: dict[str, Any]) -> bool:
    given, declared = call.arguments, schema.get("properties") or {}
    if given is None or any(name not in given for name in schema.get("required") or []):
        return False
    if any(name not in declared or name not in answers for name in given):
        return False
    if any(name not in given and "" not in possible for name, possible in answers.items()):
        return False
    return all(_value_fits(value, answers[name], declared[name]) for name, value in given.items())


def _value_fits(value: Any, possible: Sequence[Any], declared: dict[str, Any]) -> bool:
    wanted = _TYPES.get(_name(declared), str)
    inner = _TYPES.get(_name(declared.get("items") or {}), str) if wanted is list else None
    if wanted is float and type(value) is int:
        value = float(value)
    first = next((answer for answer in possible if answer != ""), None)
    # An answer of another type than the parameter's stands for a variable: then only equality counts.
    variable = first is not None and type(first) is not wanted
    if type(value) is wanted and (inner is None or _items_fit(value, possible, inner)):
        pass
    elif first is not None and type(value) is type(first):
        variable = True
    else:
        return False
    if variable or wanted not in (str, list, dict):
        return value in possible
    if wanted is dict:
        return any(_object_fits(value, answer) for answer in possible if answer != "")
    if wanted is str:
        return _plain(value) in [_plain(answer) for answer in possible if type(answer) is str]
    lists = [answer for answer in possible if isinstance(answer, list | str)]  # "" counts as an empty list, as there
    if inner is dict:
        return any(_objects_fit(value, answer) for answer in lists)
    return [_plain(one) for one in value] in [[_plain(one) for one in answer] for answer in lists]


def _name(declared: dict[str, Any]) -> str:
    kind = declared.get("type", "any")
    return kind if isinstance(kind, str) else next((one for one in kind if one != "null"), "any")


def _items_fit(value: list[Any], possible: Sequence[Any], inner: type) -> bool:
    """Whether the items have the type of the items, or of those in an answer (which may be variables)."""
    for answer in possible:
        if type(answer) is not list:
            return True
        first = next((one for one in answer if one != ""), None)
        if all(type(one) is inner or (first is not None and type(one) is type(first)) for one in value):
            return True
    return False


def _objects_fit(value: list[Any], answer: Any) -> bool:
    return len(value) == len(answer) and all(_object_fits(one, other) for one, other in zip(value, answer, strict=True))


def _object_fits(value: Any, answer: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(answer, dict) or any(key not in answer for key in value):
        return False
    if any(key not in value and "" not in possible for key, possible in answer.items()):
        return False
    return all(_plain(inner) in [_plain(one) for one in answer[key]] for key, inner in value.items())


def _plain(value: Any) -> Any:
    """BFCL's normalised string; anything else as it is."""
    return _DELETED.sub("", value).lower().replace("'", '"') if type(value) is str else value
