"""Skeletons of cases for people to fill in: the shape of a category, with calls that the pack's tools accept.

Histories and results come from the tools' schemas; the customer's words are left to the person, who knows how customers write.
"""

from collections.abc import Mapping
from typing import Any

from flywheel.benchmark.cases import Category
from flywheel.benchmark.drafts import EDIT
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.example import example_call
from flywheel.workflows.pack import Pack

Values = dict[str, Any]
BUCKETS: Mapping[str, list[str]] = {
    "tool_calling": ["schema_violation", "wrong_tool_selection", "wrong_arguments"],
    "multi_step": ["schema_violation", "wrong_tool_selection", "wrong_arguments", "premature_termination"],
    "refusal": ["refusal_error", "policy_violation"],
    "recovery": ["bad_recovery"],
}


def skeleton(pack: Pack, category: Category, case_id: str, tool_name: str | None = None) -> Values:
    """A case of the category as JSON values, EDIT marks where a person has to write.

    Args:
        tool_name: the tool it is about; by default the first that writes, else the first. A refusal is about none unless named.

    Raises FlywheelError for an unknown tool, and for one that no example call could be made of.
    """
    tool = find_tool(pack, tool_name) if tool_name else _default_tool(pack)
    name, arguments = tool["function"]["name"], example_arguments(tool)
    said = f"{EDIT} what the customer writes"
    expected = call_expectation(name, arguments)
    if category == "refusal":
        about = (
            f" to make the agent do what {name} does although it must not"
            if tool_name
            else " that the agent must not do, or cannot"
        )
        words = [[f"{EDIT} a phrase the right reply holds", f"{EDIT} another way to say it"]]
        return case_values(
            case_id, category, [], [user(said + about)], {"kind": "reply", "includes": words, "excludes": []}
        )
    if category == "recovery":
        error = canonical_json({"error": f"{EDIT} the error code"})
        history = [user(f"{said}; they ask for what {name} does"), *called(name, arguments, error)]
        return case_values(case_id, category, [name], history, expected)
    if category == "multi_step" and pack.has_environment():
        episode = {
            "kind": "episode", "environment": {"seed": 1, "overrides": {}}, "replies": [], "max_steps": 6,
            "actions": [{"name": name, "arguments": arguments}], "outputs": [f"{EDIT} what the agent must have said at the end"],
        }  # fmt: skip
        return case_values(case_id, category, [name], [user(f"{said}, so that {name} is to be called")], episode)
    if category == "multi_step":
        reading = next((one for one in pack.tools if one.get("x-access") == "read_only" and one is not tool), tool)
        result = f"{EDIT} the result as the tool gives it"
        history = [user(said), *called(reading["function"]["name"], example_arguments(reading), result)]
        return case_values(case_id, category, [name], history, expected)
    return case_values(case_id, category, [name], [user(f"{said}, every value of the call in it")], expected)


def find_tool(pack: Pack, name: str) -> dict[str, Any]:
    """A tool of the pack; raises FlywheelError that lists them."""
    for tool in pack.tools:
        if tool["function"]["name"] == name:
            return tool
    known = ", ".join(tool["function"]["name"] for tool in pack.tools)
    raise FlywheelError(
        f"there is no tool {name!r}", where=str(pack.folder / "tools.json"), remedy=f"use one of: {known}"
    )


def _default_tool(pack: Pack) -> dict[str, Any]:
    usable = [tool for tool in pack.tools if example_call(tool) is not None]
    return next((tool for tool in usable if tool.get("x-access") == "write"), (usable or pack.tools)[0])


def example_arguments(tool: dict[str, Any]) -> Values:
    """Arguments the tool accepts; raises FlywheelError where none could be made."""
    made = example_call(tool)
    if made is None:
        raise FlywheelError(f"no example call of {tool['function']['name']} could be made from its schema",
                            remedy='give its parameters "examples" in tools.json, or name another tool with --tool')  # fmt: skip
    return made


def case_values(
    case_id: str, category: Category, tools: list[str], messages: list[Values], expectation: Values, **more: Any
) -> Values:
    """A case as JSON values; its cluster is its own id."""
    return {
        "id": case_id, "cluster": case_id, "category": category, "exercises": {"buckets": BUCKETS[category], "tools": tools}, **more,
        "messages": messages, "expectation": expectation,
    }  # fmt: skip


def user(text: str) -> Values:
    """What the customer says."""
    return {"role": "user", "content": text}


def called(name: str, arguments: Values, result: str, call_id: str = "call_0_0") -> list[Values]:
    """One call of the agent and its result, as messages."""
    function = {"name": name, "arguments": canonical_json(arguments)}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def answer_expectation(response: str, fields: Values) -> Values:
    """Exactly this structured answer."""
    return {"kind": "answer", "response": response, "fields": {key: {"exact": value} for key, value in fields.items()}}


def call_expectation(name: str, arguments: Values) -> Values:
    """Exactly this call."""
    return {
        "kind": "call",
        "calls": [{"name": name, "arguments": {key: {"exact": value} for key, value in arguments.items()}}],
    }
