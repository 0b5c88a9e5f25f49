"""Expected calls and structured answers: can one that the schema allows satisfy them, and does anything else fail them?"""

import itertools
from collections.abc import Mapping
from typing import Any

from flywheel.benchmark.cases import Case, ExpectedCall, tools_of
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.benchmark.matchers import (
    Casefold,
    Exact,
    Ignore,
    Matcher,
    NormalisedText,
    OneOf,
    Regex,
    SetOf,
    read_matcher,
)
from flywheel.toolcalls.example import example_value
from flywheel.toolcalls.schema_check import check_arguments

# Combinations of acceptable values tried before an expectation is believed to be impossible.
_TRIES = 300
# A text matcher that takes all of these takes everything. The empty text is none of them: to ask for some text or other says as little.
_ANY_TEXT = ("x", "Ünïcode 42, with signs!?", "0" * 60, "two words")
_ABSENT = object()


def call_findings(case: Case, pack_tools: list[dict[str, Any]]) -> Findings:
    """What is wrong with the calls a case expects; nothing for replies and episodes."""
    if case.expectation.kind != "call":
        return
    tools = {tool["function"]["name"]: tool for tool in tools_of(case, pack_tools)}
    for call in case.expectation.calls:
        tool = tools.get(call.name)
        if tool is None:  # the loader refuses it for the pack's cases
            yield Finding(
                "error", "unknown_tool", case.id, f"there is no tool {call.name!r}", "use a tool of tools.json"
            )
            continue
        yield from expected_findings(case, call, tool, f"call of {call.name}", "unsatisfiable_call")


def expected_findings(case: Case, call: ExpectedCall, tool: dict[str, Any], what: str, rule: str) -> Findings:
    """What is wrong with one expected call or, to the schema the same, one structured answer.

    Args:
        what: how the messages name it.
        rule: of the error that nothing which the schema allows can be right.
    """
    matchers = {name: read_matcher(one) for name, one in call.arguments.items()}
    yield from _satisfiable(case, call, tool, matchers, what, rule)
    yield from _selective(case, call, tool, matchers)


def _satisfiable(
    case: Case, call: ExpectedCall, tool: dict[str, Any], matchers: Mapping[str, Matcher], what: str, rule: str
) -> Findings:
    schema = tool["function"].get("parameters") or {}
    properties = schema.get("properties") or {}
    choices = {name: _choices(matcher, properties.get(name), schema, name) for name, matcher in matchers.items()}
    first = {name: values[0] for name, values in choices.items()}
    for name, values in choices.items():
        possible = [value for value in values if not _objects_to(tool, first, name, value)]
        matcher = matchers[name]
        if possible and isinstance(matcher, OneOf):
            for value in matcher.one_of:
                if value not in possible:
                    yield Finding("warning", "impossible_value", case.id,
                                  f"{call.name}.{name}: the schema allows no {value!r}", "take it out of one_of")  # fmt: skip
        choices[name] = possible or values
    tried = itertools.islice(itertools.product(*choices.values()), _TRIES)
    problem: str | None = None
    for values in tried:
        arguments = {name: value for name, value in zip(choices, values, strict=True) if value is not _ABSENT}
        wrong = check_arguments(tool, arguments)
        if not wrong:
            return
        problem = problem or f"{wrong[0].path + ': ' if wrong[0].path else ''}{wrong[0].message}"
    message = f"no {what} that its schema allows can be right ({problem})"
    yield Finding("error", rule, case.id, message, "correct the expectation, or the schema")


def _objects_to(tool: dict[str, Any], first: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether the schema objects to this very argument, whatever the others are."""
    if value is _ABSENT:
        return False
    given = {key: other for key, other in {**first, name: value}.items() if other is not _ABSENT}
    return any(error.path.split("/")[0] == name for error in check_arguments(tool, given))


def _choices(matcher: Matcher, schema: Any, root: dict[str, Any], name: str) -> list[Any]:
    """Values that satisfy a matcher, those the schema lists included. A pattern's are unknown: a text stands in for them."""
    listed = [] if not isinstance(schema, dict) else [*(schema.get("enum") or []), *(schema.get("examples") or [])]
    fitting = [value for value in listed if matcher.accepts(value)]
    match matcher:
        case Exact():
            values = [matcher.exact]
        case OneOf():
            values = list(matcher.one_of)
        case Casefold():
            values = [matcher.casefold, *fitting]
        case NormalisedText():
            values = [matcher.normalised_text, *fitting]
        case SetOf():
            values = [matcher.set]
        case Regex():
            made = example_value(schema, root, name)
            values = fitting or [made if isinstance(made, str) else f"{name}-1"]
        case _:
            values = [example_value(schema, root, name)]
    return [*values, _ABSENT] if matcher.may_omit else values


def _selective(case: Case, call: ExpectedCall, tool: dict[str, Any], matchers: Mapping[str, Matcher]) -> Findings:
    """Matchers that take everything: the case would not see a wrong argument."""
    schema = tool["function"].get("parameters") or {}
    required = [name for name in schema.get("required") or [] if name in matchers]
    open_to_all = [
        name for name in matchers if _takes_everything(matchers[name], (schema.get("properties") or {}).get(name))
    ]
    for name in required:
        matcher = matchers[name]
        explained = isinstance(matcher, Ignore) and isinstance(matcher.ignore, str)
        if name in open_to_all and not explained:
            yield Finding("error", "matches_everything", case.id, f"{call.name}.{name} is required and any value is right",
                          'say what is right, or why it does not matter: {"ignore": "the wording is free"}')  # fmt: skip
    if matchers and len(open_to_all) == len(matchers):
        yield Finding("warning", "judged_by_name", case.id, f"{call.name} is judged by its name alone",
                      "name at least one argument that must be right")  # fmt: skip


def _takes_everything(matcher: Matcher, schema: Any) -> bool:
    if isinstance(matcher, Ignore):
        return True
    listed = _listed(schema)
    if len(listed) > 1 and all(matcher.accepts(value) for value in listed):
        return True
    return isinstance(matcher, Regex) and all(matcher.accepts(text) for text in _ANY_TEXT)


def _listed(schema: Any) -> list[Any]:
    """All values that a schema allows, where it lists them; a boolean's are two."""
    if not isinstance(schema, dict):
        return []
    return schema.get("enum") or ([True, False] if schema.get("type") == "boolean" else [])
