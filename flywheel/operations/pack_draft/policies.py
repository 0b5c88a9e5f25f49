"""What the agent did before it wrote, nearly every time: it looked, and it asked. Such habits are proposed as policies.

A habit is no policy before a person says so: `x-forbidden-without` and the guidelines are written on confirmation only.
"""

import re
from collections import Counter
from typing import Any, NamedTuple

from flywheel.operations.pack_draft.evidence import Evidence, SeenCall
from flywheel.workflows.guesses import Guess

_CALLS = 20  # successful calls from which on a habit can be seen
_SHARE = 0.9
_AGREES = re.compile(
    r"\b(?:yes|yep|yeah|yup|sure|ok(?:ay)?|confirm(?:ed)?|correct|go ahead|proceed|please do|do it|sounds good|agreed|that works|perfect)\b",
    re.I,
)


def draft_policies(evidence: Evidence, access: dict[str, str]) -> list[Guess]:
    """Proposals: a tool that writes is called only after a reading one, or only once the person has said yes."""
    guesses = []
    for name, kind in access.items():
        calls = [call for call in evidence.by_tool.get(name, ()) if call.error is None]
        if kind != "write" or len(calls) < _CALLS:
            continue
        before = _looked_before(evidence, calls, access)
        if before is not None:
            because = f"{before.tool} was called before {before.times} of {len(calls)} successful calls, about the same thing before {before.same}"
            guesses.append(
                Guess(
                    f"{name}.x-forbidden-without",
                    "tools.json",
                    (name, "x-forbidden-without"),
                    [before.tool],
                    False,
                    because,
                )
            )
        agreed = sum(_agreed(evidence, call) for call in calls)
        if agreed >= _SHARE * len(calls):
            rule = f"Before `{name}` is called, the person has said yes to what it will do."
            because = f"the person's last words before {agreed} of {len(calls)} successful calls agree"
            guesses.append(Guess(f"{name}.person-agrees", "guidelines.md", (), rule, False, because))
    return guesses


class _Before(NamedTuple):
    tool: str
    times: int
    same: int


def _looked_before(evidence: Evidence, calls: list[SeenCall], access: dict[str, str]) -> _Before | None:
    """The reading tool most often called before, and how often with a value of the call's own arguments."""
    times: Counter[str] = Counter()
    same: Counter[str] = Counter()
    for call in calls:
        earlier = [
            one for one in evidence.by_run[call.run] if one.index < call.index and access.get(one.name) == "read_only"
        ]
        times.update({one.name for one in earlier})
        same.update({one.name for one in earlier if _texts(one.arguments) & _texts(call.arguments)})
    usual = [name for name, count in times.items() if count >= _SHARE * len(calls) and same[name] * 2 > len(calls)]
    best = max(usual, key=lambda name: (same[name], times[name]), default=None)
    return None if best is None else _Before(best, times[best], same[best])


def _texts(arguments: dict[str, Any] | None) -> set[str]:
    """Values that can name a thing: texts and numbers of the top level."""
    return {str(value) for value in (arguments or {}).values() if isinstance(value, str | int) and len(str(value)) > 2}


def _agreed(evidence: Evidence, call: SeenCall) -> bool:
    said = [
        message.content or "" for message in evidence.runs[call.run].messages[: call.index] if message.role == "user"
    ]
    return len(said) > 1 and _AGREES.search(said[-1]) is not None
