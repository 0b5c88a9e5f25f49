"""What the agent did after a tool reported an error."""

import re
from collections.abc import Iterator

from flywheel.detectors.finding import Call, Finding, Run
from flywheel.toolcalls.arguments import parse_arguments

# How an answer claims that something was done, and how it says that something was not.
SUCCESS = re.compile(
    r"\b(?:done|completed?|confirmed|processed|all set|taken care of|has been|have been|is now|are now|was (?:cancel|refund|updat|chang|book|sen)\w*"
    r"|successful(?:ly)?|went through|i(?:'ve| have|'ll have)? \w+ed)\b",
    re.I,
)
ADMITS = re.compile(
    r"\b(?:not|n't|cannot|can't|unable|sorry|apologi\w+|unfortunately|fail\w*|error|issue|problem|could you|can you|which|what is|please|instead|person|ticket"
    r"|colleague|however|try again|wrong)\b|\?\s*$|\b\w+n't\b",
    re.I,
)


def _same(one: Call, other: Call) -> bool:
    if one.name != other.name:
        return False
    if one.arguments == other.arguments:
        return True
    first, second = parse_arguments(one.arguments).value, parse_arguments(other.arguments).value
    return first is not None and first == second


def repeated_call(run: Run) -> Iterator[Finding]:
    """The same call with the same arguments again after it failed; a rate limit or time-out may be tried again.

    Tried again in vain three times, even those are a loop.
    """
    if not run.failed_calls:
        return
    for place, call in enumerate(run.own_calls):
        before = [
            earlier
            for earlier in run.own_calls[:place]
            if earlier.error is not None and earlier.index < call.index and _same(earlier, call)
        ]
        lasting = [earlier for earlier in before if not earlier.transient]
        changed = lasting and any(
            other.error is None and other.name in run.toolbox.writing and lasting[-1].index < other.index < call.index
            for other in run.own_calls
        )  # fmt: skip
        if (lasting and not changed) or len(before) >= 3:
            said = f"called {call.name} again with the same arguments after it reported {before[-1].error!r}"
            yield Finding(call.index, "bad_recovery", "repeated_identical_call", "agent", call.name, "repeated", said)


def claimed_success_after_error(run: Run) -> Iterator[Finding]:
    """A silent failure: the last thing a tool said was an error, and the next answer claims success."""
    for call in run.failed_calls:
        following = (
            run.messages[call.answered + 1]
            if call.answered is not None and call.answered + 1 < len(run.messages)
            else None
        )
        if not following or following.role != "assistant" or following.tool_calls:
            continue
        content = following.content or ""
        if SUCCESS.search(content) and not ADMITS.search(content):
            said = f"{call.name} reported {call.error!r}, and the answer claims success: {content[:100]!r}"
            yield Finding(
                (call.answered or 0) + 1,
                "bad_recovery",
                "false_success_claim",
                "agent",
                call.name,
                str(call.error),
                said,
                True,
            )


def unresolved_error(run: Run) -> Iterator[Finding]:
    """The run ends after a tool error with neither another attempt nor words that admit it."""
    for call in run.failed_calls:
        if call.answered is None or any(later.index > call.answered for later in run.calls):
            continue
        answers = [m.content or "" for m in run.messages[call.answered + 1 :] if m.role == "assistant"]
        if not answers:
            fault = "environment" if call.transient else "agent"
            bucket = "premature_termination" if fault == "agent" else "infra_error"
            sub_kind = "gave_up" if fault == "agent" else "tool_unavailable"
            said = f"the run ends right after {call.name} reported {call.error!r}"
            yield Finding(call.index, bucket, sub_kind, fault, call.name, str(call.error), said)
        elif call.transient:
            said = f"{call.name} reported {call.error!r} and the run ends with that"
            yield Finding(
                call.index, "infra_error", "tool_unavailable", "environment", call.name, str(call.error), said
            )
        elif not any(ADMITS.search(answer) for answer in answers):
            said = f"{call.name} reported {call.error!r}; no later answer deals with it"
            yield Finding(call.answered + 1, "bad_recovery", "unresolved", "agent", call.name, str(call.error), said)
