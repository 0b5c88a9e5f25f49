"""A proposed correction and the automatic check it must pass before a person reviews it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.toolcalls.schema_check import check_call
from flywheel.toolcalls.structured_answers import ResponseSchema, check_answer, response_at

Message = dict[str, Any]


class Proposal(NamedTuple):
    """What an annotator submits.

    Attributes:
        first_bad_message_index: index of the first wrong assistant step of the run.
        messages: the run's own prefix, the corrected step, and what follows it.
        trainable_indices: indices of the assistant steps the person wrote; the corrected one first.
        suffix_mode: truncated, reexecuted, rolled_forward or hand_written.
    """

    first_bad_message_index: int
    messages: list[Message]
    trainable_indices: list[int]
    suffix_mode: str = "reexecuted"

    def payload(self) -> dict[str, Any]:
        """The submission's event payload."""
        return self._asdict()


def auto_check(
    proposal: Proposal, original: list[Message], tools: list[dict[str, Any]], responses: Sequence[ResponseSchema] = ()
) -> list[str]:
    """Hard problems of a proposal, one sentence each; empty when a person may review it.

    Args:
        responses: the pack's schemas of structured answers; a written answer must satisfy the one that applies to it.
    """
    index, messages = proposal.first_bad_message_index, proposal.messages
    problems: list[str] = []
    if not 0 <= index < min(len(original), len(messages)) or original[index]["role"] != "assistant":
        return [f"message {index} is no assistant step of the run"]
    if messages[:index] != original[:index]:
        problems.append("the run's own messages before the first wrong step were changed")
    if messages[index] == original[index]:
        problems.append("the marked step is unchanged")
    if not proposal.trainable_indices or proposal.trainable_indices[0] != index:
        problems.append("the corrected step must be the first trainable one")
    for position in proposal.trainable_indices:
        if not index <= position < len(messages) or messages[position]["role"] != "assistant":
            problems.append(f"message {position} is no assistant step after the first wrong one")
            continue
        if not messages[position].get("content") and not messages[position].get("tool_calls"):
            problems.append(f"message {position} neither says nor calls anything")
        for call in messages[position].get("tool_calls") or []:
            errors = check_call(tools, call["function"]["name"], call["function"]["arguments"])
            problems += [f"message {position}, {call['function']['name']}: {error.message}" for error in errors]
        if messages[position].get("content") and (response := response_at(responses, messages, position)):
            errors = check_answer(response, messages[position]["content"])
            problems += [f"message {position}, answer {response.name}: {error.message}" for error in errors]
    return problems + _unpaired(messages)


def _unpaired(messages: list[Message]) -> list[str]:
    made: set[str] = set()
    problems = []
    for position, message in enumerate(messages):
        made.update(call["id"] for call in message.get("tool_calls") or [])
        if message["role"] == "tool" and message.get("tool_call_id") not in made:
            problems.append(f"message {position} answers a call that no message made")
    return problems
