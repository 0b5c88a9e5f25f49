"""Success claimed over a tool result that does not carry it: an empty, cut off or partial one.

A tool that failed outright is `claimed_success_after_error`'s. Here no fault is certain: the claim may be about something else that was
done, so a person decides; every finding is a sign.
"""

import re
from collections.abc import Iterator

from flywheel.detectors.finding import Finding, Run
from flywheel.detectors.tool_errors import ADMITS, SUCCESS
from flywheel.toolcalls.incomplete_results import Lack, lack_in

_FOUND = re.compile(r"\b(?:here (?:is|are)|here's|i(?:'ve| have)? found)\b", re.I)
# What names the lack: an answer that does is no false claim.
_NAMES_IT: dict[Lack, re.Pattern[str]] = {
    "empty": re.compile(r"\b(?:no|none|nothing|nobody|empty|zero|0|any)\b", re.I),
    "truncated": re.compile(r"\b(?:truncated|incomplete|cut|part|partial\w*|first|some|more|rest|remaining)\b", re.I),
    "partial": re.compile(r"\b(?:part|partly|partial\w*|some|only|except|rest|remaining|incomplete|\d+ (?:of|out of) \d+)\b", re.I),
}  # fmt: skip


def claimed_success_over_incomplete_result(run: Run) -> Iterator[Finding]:
    """An answer that claims success where the results right before it are all empty, or the last one is cut off or partial.

    An empty result counts where it is of tools that only read, and nothing was written since the user's turn.
    """
    if not run.unfinished:
        return
    for index, message in enumerate(run.messages):
        content = message.content or ""
        if index == 0 or message.role != "assistant" or message.tool_calls or run.messages[index - 1].role != "tool":
            continue
        lack = _lack_before(run, index)
        if lack is None or ADMITS.search(content) or _NAMES_IT[lack].search(content):
            continue
        if not SUCCESS.search(content) and not _FOUND.search(content):
            continue
        name = next((call.name for call in run.own_calls if call.answered == index - 1), None)
        if name is None:
            continue  # the harness called
        kind = f"success_over_{lack}_result"
        said = f"{name} gave {'an' if lack == 'empty' else 'a'} {lack} result, and the answer claims success: {content[:100]!r}"
        yield Finding(index, "misread_tool_output", kind, "agent", name, kind, said)


def _lack_before(run: Run, index: int) -> Lack | None:
    """What the tool results right before an answer lack; an error among them is another detector's."""
    results: list[str] = []
    for place in range(index - 1, -1, -1):
        if run.messages[place].role != "tool":
            break
        results.append(run.messages[place].content or "")
    lacks = [lack_in(content) for content in results]
    if lacks[0] in ("truncated", "partial"):
        return lacks[0]
    if any(lack != "empty" for lack in lacks):
        return None
    turn = next((place for place in range(index - 1, -1, -1) if run.messages[place].role == "user"), 0)
    made = [call for call in run.calls if turn < call.index < index]
    answered = [call for call in made if call.answered is not None and call.answered >= index - len(results)]
    reads = all(run.toolbox.by_name.get(call.name, {}).get("x-access") == "read_only" for call in answered)
    return "empty" if reads and not any(call.name in run.toolbox.writing for call in made) else None
