"""One correction as a patch for the other items of its failure cluster.

A patch is the difference of the corrected call to the call it replaces. It applies where the suspected step calls the
same tool, holds the same old values, and the result passes the automatic check; every item it is applied to is still
its own claim, its own submission and its own review.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.corrections.items import Item
from flywheel.corrections.proposal import Message, Proposal, auto_check
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.diff import Change, diff, patched


class Patch(NamedTuple):
    """What was done to a step that made one call.

    Attributes:
        tool: the tool the step called.
        new_tool: the tool it calls now; None where it answers now, with `answer`.
        changes: of the arguments.
    """

    tool: str
    new_tool: str | None
    changes: tuple[Change, ...]
    answer: str | None


def patch_of(original: Sequence[Message], proposal: Proposal) -> Patch | None:
    """The patch behind a correction; None where it corrects anything but one call, and so says nothing about others."""
    before = original[proposal.first_bad_message_index]
    after = proposal.messages[proposal.first_bad_message_index]
    made, now = before.get("tool_calls") or [], after.get("tool_calls") or []
    if len(made) != 1 or len(now) > 1:
        return None
    tool = made[0]["function"]["name"]
    if not now:
        return Patch(tool, None, (), str(after.get("content") or ""))
    old, new = _arguments(made[0]), _arguments(now[0])
    if old is None or new is None:
        return None
    return Patch(tool, now[0]["function"]["name"], tuple(diff(old, new)), None)


def apply_patch(patch: Patch, item: Item) -> Proposal | None:
    """The same correction for another item; None where it does not fit or is not valid there."""
    step = item.messages[item.message_index]
    made = step.get("tool_calls") or []
    if len(made) != 1 or made[0]["function"]["name"] != patch.tool:
        return None
    if patch.new_tool is None:
        corrected: Message = {"role": "assistant", "content": patch.answer}
    else:
        held = _arguments(made[0])
        arguments = patched(held, patch.changes) if held is not None else None
        if arguments is None:
            return None
        function = {"name": patch.new_tool, "arguments": canonical_json(arguments)}
        corrected = {**step, "tool_calls": [{**made[0], "function": function}]}
    index = item.message_index
    proposal = Proposal(index, [*item.messages[:index], corrected], [index], "truncated")
    return None if auto_check(proposal, item.messages, item.tools, item.responses) else proposal


def _arguments(call: dict[str, Any]) -> dict[str, Any] | None:
    return parse_arguments(call["function"]["arguments"]).value
