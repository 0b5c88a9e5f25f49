"""When is an argument right? Typed and explicit per parameter, never a lossy string comparison.

A matcher is an object with one of `exact` (default; numbers compared as numbers, a boolean never equals a number),
`one_of`, `casefold`, `normalised_text`, `set`, `regex` or `ignore`, and optionally `may_omit`.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

KINDS = ("exact", "one_of", "casefold", "normalised_text", "set", "regex", "ignore")


class Call(NamedTuple):
    """A call made: name and parsed arguments (None where they were no JSON object)."""

    name: str
    arguments: dict[str, Any] | None


class CallMatch(NamedTuple):
    """How the calls made compare with those expected: right tools, right arguments, and the first reason if not."""

    selection: bool
    arguments: bool
    reason: str | None


def equal(expected: Any, actual: Any) -> bool:
    """Typed equality of JSON values: 1 == 1.0, True != 1, order of object keys ignored, of arrays kept."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return isinstance(expected, bool) and isinstance(actual, bool) and expected == actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return expected == actual
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(equal(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(equal(a, b) for a, b in zip(expected, actual, strict=True))
    return type(expected) is type(actual) and expected == actual


def normalise(text: str) -> str:
    """Text with case folded, punctuation at word edges removed and whitespace collapsed."""
    return " ".join(word.strip(".,;:!?\"'()") for word in text.casefold().split()).strip()


def matches(matcher: dict[str, Any], actual: Any) -> bool:
    """Whether one argument value satisfies its matcher; an unknown matcher raises ValueError."""
    kind = next((name for name in KINDS if name in matcher), None)
    match kind:
        case "ignore":
            return True
        case "exact":
            return equal(matcher["exact"], actual)
        case "one_of":
            return any(equal(value, actual) for value in matcher["one_of"])
        case "casefold":
            return isinstance(actual, str) and actual.casefold() == str(matcher["casefold"]).casefold()
        case "normalised_text":
            return isinstance(actual, str) and normalise(actual) == normalise(str(matcher["normalised_text"]))
        case "set":
            wanted = matcher["set"]
            if not isinstance(actual, list) or len(actual) != len(wanted):
                return False
            return all(any(equal(want, have) for have in actual) for want in wanted)
        case "regex":
            return isinstance(actual, str) and re.fullmatch(matcher["regex"], actual) is not None
        case _:
            raise ValueError(f"unknown matcher {sorted(matcher)}; use one of {', '.join(KINDS)}")


def match_arguments(expected: dict[str, dict[str, Any]], actual: dict[str, Any] | None) -> list[str]:
    """Why the arguments are wrong, one sentence a parameter; empty when they are right."""
    if actual is None:
        return ["the arguments are no JSON object"]
    wrong = [f"{name}: not expected" for name in actual if name not in expected]
    for name, matcher in expected.items():
        if name not in actual:
            if not matcher.get("may_omit"):
                wrong.append(f"{name}: missing")
        elif not matches(matcher, actual[name]):
            wrong.append(f"{name}: {actual[name]!r} does not match {matcher}")
    return wrong


def match_calls(expected: Sequence[tuple[str, dict[str, dict[str, Any]]]], actual: Sequence[Call]) -> CallMatch:
    """Compare calls in any order: equal counts, equal names, and a pairing in which all arguments match.

    The pairing is the best one (maximum bipartite matching), not the first that fits.
    """
    wanted, made = sorted(name for name, _ in expected), sorted(call.name for call in actual)
    if wanted != made:
        return CallMatch(
            False, False, f"called {', '.join(made) or 'nothing'} instead of {', '.join(wanted) or 'nothing'}"
        )
    if not wanted:
        return CallMatch(True, True, None)
    reasons = [
        [None if name == call.name and not (wrong := match_arguments(matchers, call.arguments)) else
         f"{call.name}: {'; '.join(wrong) if name == call.name else 'other tool'}" for call in actual]
        for name, matchers in expected
    ]  # fmt: skip
    cost = np.array(
        [[0.0 if reason is None else 1.0 if "other tool" not in reason else 2.0 for reason in row] for row in reasons]
    )
    rows, columns = linear_sum_assignment(cost)
    left = [reasons[row][column] for row, column in zip(rows, columns, strict=True) if reasons[row][column]]
    return CallMatch(True, not left, left[0] if left else None)
