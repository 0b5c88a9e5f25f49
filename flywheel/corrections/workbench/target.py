"""What the form of the annotation page is for: the arguments of the shown call, or the fields of a structured answer.

To form and validator the two are one: a schema and the JSON object held against it.
"""

from typing import Any, NamedTuple

from flywheel.corrections.items import Item
from flywheel.corrections.workbench.draft import Draft
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.schema_check import SchemaError, check_call
from flywheel.toolcalls.structured_answers import ResponseSchema, check_answer, response_at


class Target(NamedTuple):
    """What is shown.

    Attributes:
        name: of the tool or of the response schema; empty for words.
        schema: what the form is drawn from; empty where there is none.
        text: the arguments or the answer, as they are.
        held: the same as an object; None where it is none, or no schema is known for it.
        of_answer: the response schema of a structured answer, else None.
        calls: whether the step calls.
    """

    name: str
    schema: dict[str, Any]
    text: str
    held: dict[str, Any] | None
    of_answer: ResponseSchema | None = None
    calls: bool = False

    @property
    def response(self) -> str:
        """Name of the response schema, empty where the step calls or words are free."""
        return self.of_answer.name if self.of_answer else ""

    def errors(self, item: Item) -> list[SchemaError]:
        """What the validator of triage has against it."""
        if self.calls:
            return check_call(item.tools, self.name, self.text)
        return check_answer(self.of_answer, self.text) if self.of_answer else []


def target_of(item: Item, draft: Draft) -> Target:
    """What the draft shows."""
    if draft.calls:
        function = draft.calls[draft.call]["function"]
        tool = tool_of(item, function["name"])
        schema = (tool["function"].get("parameters") or {}) if tool else {}
        held = parse_arguments(function["arguments"]).value if tool else None
        return Target(function["name"], schema, function["arguments"], held, calls=True)
    text = str((draft.step or {}).get("content") or "")
    if draft.step is None or draft.marked is None:
        return Target("", {}, text, None)
    messages = [*item.messages[: draft.marked], *draft.tail[: draft.open + 1]]
    response = response_at(item.responses, messages, len(messages) - 1)
    if response is None:
        return Target("", {}, text, None)
    # An answer nobody has begun is an empty form.
    held = parse_arguments(text).value if text.strip() else {}
    return Target(response.name, response.schema, text, held, response)


def tool_of(item: Item, name: str) -> dict[str, Any] | None:
    """The tool of that name, as the run was offered it."""
    return next((tool for tool in item.tools if tool["function"]["name"] == name), None)
