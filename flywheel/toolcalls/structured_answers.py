"""Structured answers: which schema an answer without a call must have, and whether it has it.

A pack may declare response schemas. An answer under one is judged as the arguments of a call are, by the same engine and in the same
kinds: to the validator a response schema is a tool that is named like it. What goes here: choosing the schema and judging the text. What
does not: reading a pack's files (`flywheel.workflows.responses`), what a field must be (`flywheel.benchmark.matchers`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.schema_check import SchemaError, check_arguments

NO_ANSWER = "the answer is empty, where one JSON object is due"


@dataclass(frozen=True)
class ResponseSchema:
    """One kind of structured answer.

    Attributes:
        name: what the pack calls it.
        schema: the JSON Schema of the answer, an object's.
        after_tools: the answer must have the schema where one of these tools was called since the user's last turn; empty: always.
    """

    name: str
    schema: dict[str, Any]
    after_tools: tuple[str, ...] = ()

    @cached_property
    def as_tool(self) -> dict[str, Any]:
        """The schema as the function that the validator, the form and the matchers of tool calls take."""
        return {"type": "function", "function": {"name": self.name, "parameters": self.schema}}

    def values(self) -> list[Any]:
        """What it says, as JSON values: for hashes of what decides a stage."""
        return [self.name, list(self.after_tools), self.schema]


def response_for(responses: Sequence[ResponseSchema], called: Collection[str]) -> ResponseSchema | None:
    """The first schema that applies after calls of these tools since the user's last turn; None where words are free."""
    return next(
        (one for one in responses if not one.after_tools or any(name in called for name in one.after_tools)), None
    )


def response_at(
    responses: Sequence[ResponseSchema], messages: Sequence[Mapping[str, Any]], index: int
) -> ResponseSchema | None:
    """The schema of the answer at `index` of a conversation; None for a message that calls, or is no assistant's."""
    message = messages[index]
    if not responses or message["role"] != "assistant" or message.get("tool_calls"):
        return None
    called: set[str] = set()
    for earlier in reversed(messages[:index]):
        if earlier["role"] == "user":
            break
        called.update(call["function"]["name"] for call in earlier.get("tool_calls") or [])
    return response_for(responses, called)


def check_answer(response: ResponseSchema, content: str | None) -> list[SchemaError]:
    """All reasons why a text is no answer of that schema; empty when it is one.

    The kinds are those of `check_call`, the path is inside the answer. Nothing around the object is forgiven, a code fence neither:
    whoever reads the answer parses it whole.
    """
    if not (content or "").strip():
        return [SchemaError("invalid_json", "", NO_ANSWER)]
    return [error._replace(message=_of_answer(error.message)) for error in check_arguments(response.as_tool, content)]


def answer_fields(content: str | None) -> dict[str, Any] | None:
    """The fields of a structured answer, whether its schema takes them or not; None where the text is no JSON object."""
    return parse_arguments(content or "").value


def canonical_answer(content: str) -> str:
    """The answer in canonical JSON, as a model learns to write it; a text that is no JSON object as it is."""
    fields = answer_fields(content)
    return content if fields is None else canonical_json(fields)


def _of_answer(message: str) -> str:
    return message.replace("arguments are", "the answer is", 1).replace("the arguments", "the answer")
