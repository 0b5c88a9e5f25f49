"""What the user's next message says about the step before it."""

import re
from collections.abc import Iterator

from flywheel.failures.finding import Finding, Run

_OBJECTS = re.compile(
    r"^\W*(no\b|nope\b|wrong\b|that(?:'s| is| was) (?:not|wrong)|that did(?:n't| not) (?:help|work)|i (?:already|just) (?:said|told|gave|asked)"
    r"|not what i|you did(?:n't| not)|this is not|again[:,]|still (?:nothing|waiting|not)|please (?:actually|just) )",
    re.I,
)


def user_objects(run: Run) -> Iterator[Finding]:
    """The user says no, that it did not help, or asks again: the assistant step before it is suspected.

    A step without a call that is objected to is a missing call; a step that followed tool results is wrong arguments or
    a misread result, which an expert tells apart.
    """
    for index, message in enumerate(run.messages):
        if message["role"] != "user" or index < 2 or not _OBJECTS.match(str(message.get("content") or "")):
            continue
        step = run.assistant_before(index)
        if step is None:
            continue
        said = f"the user objects: {str(message['content'])[:100]!r}"
        made = _last_call(run, step)
        if made is None:
            yield Finding(step, "wrong_tool_selection", "missing_call", "agent", None, "no_call_made", said)
        else:
            yield Finding(made[0], "wrong_arguments", "user_objected", "agent", made[1], "user_objected", said)


def _last_call(run: Run, step: int) -> tuple[int, str] | None:
    """Index and tool of the last call since the user's turn that `step` answers."""
    for index in range(step, -1, -1):
        message = run.messages[index]
        if message["role"] == "user":
            return None
        if message.get("tool_calls"):
            return index, message["tool_calls"][-1]["function"]["name"]
    return None
