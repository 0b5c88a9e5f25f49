"""Which answers without a call must be JSON of a schema, as the batch's `responses.json` says; by the house's own rule.

The first entry that applies decides; without `after_tools` it applies always, else where one of these tools was called since the user's
last turn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .strict import NotStrict

FILE = "responses.json"


class Response(NamedTuple):
    """One kind of structured answer: its name, its JSON Schema, after which tools it is due, and why it cannot be judged here ('': it can)."""

    name: str
    schema: dict[str, Any]
    after_tools: tuple[str, ...]
    unusable: str


def responses_of(document: Any) -> tuple[Response, ...]:
    """The entries of a parsed `responses.json`; raises NotStrict, KeyError or TypeError for anything else."""
    found = []
    for one in document["responses"]:
        texts = [one["name"], one["unusable"], *one["after_tools"]]
        if not all(isinstance(text, str) for text in texts) or not isinstance(one["schema"], dict):
            raise NotStrict(f"{FILE}: an entry has a name, after_tools, a schema and unusable")
        found.append(Response(one["name"], one["schema"], tuple(one["after_tools"]), one["unusable"]))
    return tuple(found)


def response_at(responses: Sequence[Response], messages: Sequence[dict[str, Any]], index: int) -> Response | None:
    """The schema that the answer at `index` must have; None where words are free, and for a message that calls or is no assistant's."""
    message = messages[index]
    if message["role"] != "assistant" or message.get("tool_calls"):
        return None
    called: set[str] = set()
    for earlier in reversed(messages[:index]):
        if earlier["role"] == "user":
            break
        called.update(call["function"]["name"] for call in earlier.get("tool_calls") or [])
    return next((one for one in responses if not one.after_tools or called & set(one.after_tools)), None)
