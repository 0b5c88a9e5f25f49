"""When is an argument right? Typed and explicit per parameter, never a lossy string comparison.

A matcher is an object with one of the keys below, and optionally `may_omit`: true.

    exact             this value; numbers compared as numbers, a boolean never equals a number
    one_of            one of these values
    casefold          this text, upper and lower case alike
    normalised_text   this text, case, punctuation at word edges and whitespace ignored
    set               these values in any order, each as often as it is listed
    regex             a text that the pattern matches as a whole; ECMA 262, linear time, so without look-around and back-references
    ignore            any value: true, or better the reason why it does not matter
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator

# Compiled size of a pattern in bytes: counted repetitions of counted repetitions are refused instead of built.
_PATTERN_BYTES = 1_000_000


class MatcherProblem(ValueError):
    """A matcher that says nothing, or two things at once, or what cannot be matched; `remedy` says what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Matcher(BaseModel):
    """What one argument must be. `may_omit`: the call is right without the argument, too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    may_omit: StrictBool = False

    def accepts(self, value: Any) -> bool:
        """Whether a parsed argument value is right."""
        raise NotImplementedError


class Exact(Matcher):
    """The value itself, by typed equality (`equal`)."""

    exact: Any

    def accepts(self, value: Any) -> bool:
        """See Matcher."""
        return equal(self.exact, value)


class OneOf(Matcher):
    """Any of several values."""

    one_of: list[Any] = Field(min_length=1)

    def accepts(self, value: Any) -> bool:
        """See Matcher."""
        return any(equal(wanted, value) for wanted in self.one_of)


class Casefold(Matcher):
    """A text whose case does not matter."""

    casefold: str

    def accepts(self, value: Any) -> bool:
        """See Matcher."""
        return isinstance(value, str) and value.casefold() == self.casefold.casefold()


class NormalisedText(Matcher):
    """A text whose case, whitespace and punctuation at word edges do not matter."""

    normalised_text: str

    @field_validator("normalised_text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not normalise(text):
            raise MatcherProblem("normalised_text has no word in it", "use exact for a text of punctuation only")
        return text

    def accepts(self, value: Any) -> bool:
        """See Matcher."""
        return isinstance(value, str) and normalise(value) == normalise(self.normalised_text)


class SetOf(Matcher):
    """A list with these values in any order; a value listed twice must be there twice."""

    set: list[Any]

    def accepts(self, value: Any) -> bool:
        """See Matcher. The pairing is a maximum matching, so that no order of the values decides."""
        if not isinstance(value, list) or len(value) != len(self.set):
            return False
        if not value:
            return True
        _, misfits = _best_pairing([[float(not equal(wanted, have)) for have in value] for wanted in self.set])
        return misfits == 0


class Regex(Matcher):
    """A text that a pattern matches from its first character to its last."""

    regex: str = Field(max_length=2_000)

    @field_validator("regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        _pattern(pattern)
        return pattern

    def accepts(self, value: Any) -> bool:
        """See Matcher. Linear in the length of the text."""
        try:
            return isinstance(value, str) and _pattern(self.regex).is_valid(value)
        except ValueError:  # a text that is no Unicode
            return False


class Ignore(Matcher):
    """Any value. A text instead of true is the reason, which the lint asks for where the argument is required."""

    ignore: Literal[True] | str = Field(union_mode="left_to_right")

    def accepts(self, value: Any) -> bool:
        """See Matcher."""
        return True


_TYPES: dict[str, type[Matcher]] = {
    "exact": Exact, "one_of": OneOf, "casefold": Casefold, "normalised_text": NormalisedText, "set": SetOf, "regex": Regex,
    "ignore": Ignore,
}  # fmt: skip
KINDS = tuple(_TYPES)


@lru_cache(maxsize=1_000)
def _pattern(pattern: str) -> jsonschema_rs.Validator:
    """The pattern anchored at both ends. Python's `re` is not used: nested repetitions can hang it."""
    try:
        options = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES)
        schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=options)
    except ValueError:
        raise MatcherProblem(
            f"the pattern {pattern!r} is no regular expression that can be matched in linear time",
            "write an ECMA 262 pattern without look-around and back-references, with small repetition counts",
        ) from None


def read_matcher(rule: Any) -> Matcher:
    """The typed matcher that a case writes as an object; raises MatcherProblem, a ValueError that carries the remedy."""
    given = [name for name in KINDS if isinstance(rule, Mapping) and name in rule]
    if len(given) != 1:
        said = f"an unknown matcher: {rule!r}" if not given else f"one matcher with {' and '.join(given)}"
        raise MatcherProblem(said, f'write one of {", ".join(KINDS)}, as in {{"exact": "A1"}}')
    try:
        return _TYPES[given[0]].model_validate(rule)
    except ValidationError as error:
        first = error.errors()[0]
        inner = (first.get("ctx") or {}).get("error")
        if isinstance(inner, MatcherProblem):
            raise inner from None
        at = ".".join(map(str, first["loc"])) or given[0]
        raise MatcherProblem(f"{at}: {first['msg']}", f"correct the matcher {given[0]}, or remove {at}") from None


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
    words = (word.strip(".,;:!?\"'()") for word in text.casefold().split())
    return " ".join(word for word in words if word)


def matches(matcher: Mapping[str, Any] | Matcher, actual: Any) -> bool:
    """Whether one argument value satisfies its matcher; an unusable matcher raises MatcherProblem, a ValueError."""
    return (matcher if isinstance(matcher, Matcher) else read_matcher(matcher)).accepts(actual)


def match_arguments(expected: Mapping[str, Mapping[str, Any]], actual: Mapping[str, Any] | None) -> list[str]:
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


def match_calls(expected: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]], actual: Sequence[Call]) -> CallMatch:
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
    # Two calls of other tools cost more than a wrong argument, so that the reason named is about a call of the right tool.
    reasons = [[_wrong(name, matchers, call) for call in actual] for name, matchers in expected]
    cost = [
        [2.0 if name != call.name else float(reason is not None) for call, reason in zip(actual, row, strict=True)]
        for (name, _), row in zip(expected, reasons, strict=True)
    ]
    pairs, _ = _best_pairing(cost)
    left = [reason for row, column in pairs if (reason := reasons[row][column])]
    return CallMatch(True, not left, left[0] if left else None)


def _best_pairing(cost: list[list[float]]) -> tuple[list[tuple[int, int]], float]:
    """The cheapest pairing of rows with columns of a square table, and what it costs."""
    # Here, not above: scipy takes a third of a second to load, and the code location only reads cases.
    from scipy.optimize import linear_sum_assignment

    pairs = [(int(row), int(column)) for row, column in zip(*linear_sum_assignment(cost), strict=True)]
    return pairs, sum(cost[row][column] for row, column in pairs)


def _wrong(name: str, matchers: Mapping[str, Mapping[str, Any]], call: Call) -> str | None:
    if name != call.name:
        return f"{call.name}: other tool"
    wrong = match_arguments(matchers, call.arguments)
    return f"{call.name}: {'; '.join(wrong)}" if wrong else None
