"""What the user's next message says about the step before it."""

import re
from collections.abc import Iterator

from flywheel.detectors.finding import Call, Finding, Run

_OBJECTS = re.compile(
    r"^\W*(?:no\b(?! (?:problem|worries|thank|need|other|further|more|insurance|bags?|checked|extra|preference|i don))|nope\b|wrong\b"
    r"|that(?:'s| is| was) (?:not|wrong|incorrect)|that did(?:n't| not) (?:help|work)"
    r"|i (?:already|just) (?:said|told|gave|asked)|not what i|you did(?:n't| not)|this is (?:not|wrong)|again[:,]|still (?:nothing|waiting|not)"
    r"|please (?:actually|just) |you (?:got|have) (?:it|that) wrong|that(?:'s| is) incorrect)",
    re.I,
)
_OWN_MISTAKE = re.compile(
    r"\b(?:my (?:mistake|bad|fault|error)|i (?:gave|told|sent|typed) (?:you )?the wrong|i was wrong|i mixed up|i misspoke|i meant to say|changed my mind|on second thought)\b",
    re.I,
)
_LEAVES = re.compile(
    r"\b(?:i(?:'ll| will) (?:get back|reach out|contact you|let you know|come back|call back|try (?:to find|again later|somewhere)|figure)"
    r"|talk (?:to you )?soon|never ?mind|forget it|i give up|maybe later|some other time|i have to go|gotta go|i(?:'ll| will) find it)",
    re.I,
)


def user_objects(run: Run) -> Iterator[Finding]:
    """The user says no, that it did not help, or asks again: the assistant step before it is suspected.

    A step without a call that is objected to is a missing call; a step that followed tool results is wrong arguments or
    a misread result, which an expert tells apart. A user who owns up to a mistake is believed.
    """
    for index, message in enumerate(run.messages):
        if message.role != "user" or index < 2:
            continue
        content = message.content or ""
        own = _OWN_MISTAKE.search(content)
        objects = None if own else _OBJECTS.match(content)
        step = run.assistant_before(index)
        if step is None or not (own or objects):
            continue
        if (
            objects
            and objects.group().lower().strip(" \t\n.,!\"'") == "no"
            and "?" in (run.messages[step].content or "")
        ):
            continue  # the answer to a question
        made = _last_call(run, step)
        if own:
            said = f"the user takes the mistake on themselves: {content[:100]!r}"
            yield Finding(
                step,
                "wrong_arguments",
                "user_corrected_self",
                "user",
                made.name if made else None,
                "user_mistake",
                said,
            )
            continue
        if made and made.injected:
            continue
        said = f"the user objects: {content[:100]!r}"
        if made is None:
            yield Finding(step, "wrong_tool_selection", "missing_call", "agent", None, "no_call_made", said)
        else:
            yield Finding(made.index, "wrong_arguments", "user_objected", "agent", made.name, "user_objected", said)


def user_asks_again(run: Run) -> Iterator[Finding]:
    """The user sends the same request word for word once more: the first answer did not serve."""
    if sum(message.role == "user" for message in run.messages) < 2:
        return
    asked: dict[str, int] = {}
    for index, message in enumerate(run.messages):
        if message.role != "user":
            continue
        words = re.sub(r"\W+", " ", message.content or "").strip().casefold()
        if len(words) < 12:
            continue
        if words in asked and (step := run.assistant_before(index)) is not None:
            said = f"the user asks the same again: {(message.content or '')[:100]!r}"
            made = _last_call(run, step)
            tool = made.name if made else None
            yield Finding(
                step,
                "misread_tool_output" if made else "wrong_tool_selection",
                "asked_again",
                "agent",
                tool,
                "asked_again",
                said,
            )
        asked[words] = index


def user_left(run: Run) -> Iterator[Finding]:
    """The user ends the conversation without what they came for, and no tool ever changed anything."""
    if any(call.name in run.toolbox.writing and call.error is None for call in run.calls):
        return
    last = [message.content or "" for message in run.messages[2:] if message.role == "user"][-3:]
    if len(run.messages) > 3 and any(_LEAVES.search(text) for text in last):
        said = f"the user leaves without a result: {next(t for t in last if _LEAVES.search(t))[:100]!r}"
        yield Finding(run.last_assistant(), "premature_termination", "user_left", "user", None, "user_left", said)


def _last_call(run: Run, step: int) -> Call | None:
    """The last call since the user's turn that `step` answers."""
    start = next((index for index in range(step, -1, -1) if run.messages[index].role == "user"), 0)
    return next((call for call in reversed(run.calls) if start <= call.index <= step), None)
