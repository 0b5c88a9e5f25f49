"""What a person answered, in comparable terms: the step, the kind of fix, the tool and its arguments.

First answers are read from the log: what the annotator submitted before any reviewer said a word. Only they are independent.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from flywheel.corrections.log import Recorded
from flywheel.toolcalls.arguments import parse_arguments


class Answer(NamedTuple):
    """One correction in comparable terms.

    Attributes:
        actor: who gave it.
        step: index of the first wrong step; None for "not fixable".
        kind: unfixable, call or reply: what the step was made into; with the reason for the first.
        tool, arguments: of the corrected step's first call; None for a reply.
    """

    actor: str
    step: int | None
    kind: str
    tool: str | None
    arguments: dict[str, Any] | None


def answer_of(proposal: dict[str, Any], actor: str = "") -> Answer:
    """A proposal's payload as an answer."""
    if proposal.get("unfixable"):
        return Answer(actor, None, f"unfixable: {proposal['unfixable']}", None, None)
    index = proposal["first_bad_message_index"]
    calls = step_of(proposal).get("tool_calls") or []
    if not calls:
        return Answer(actor, index, "reply", None, None)
    function = calls[0]["function"]
    return Answer(actor, index, "call", function["name"], parse_arguments(function["arguments"]).value)


def step_of(proposal: dict[str, Any]) -> dict[str, Any]:
    """The corrected assistant message; empty where there is none."""
    messages, index = proposal.get("messages") or [], proposal.get("first_bad_message_index", -1)
    return messages[index] if 0 <= index < len(messages) else {}


def first_answers(history: Iterable[Recorded]) -> dict[str, Answer]:
    """Item -> its first submission that passed the automatic check; erased items and items without one are left out."""
    pending: dict[str, Answer] = {}
    found: dict[str, Answer] = {}
    for _, _, event in history:
        if "erased" in event.payload:
            found.pop(event.item_id, None)
            pending.pop(event.item_id, None)
        elif event.kind == "submit":
            pending[event.item_id] = answer_of(event.payload, event.actor)
        elif event.kind == "check" and not event.payload.get("problems") and event.item_id in pending:
            found.setdefault(event.item_id, pending.pop(event.item_id))
    return found
