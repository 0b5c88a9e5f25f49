"""What a tool says to the corrected call: run again in the pack's environment, or as the run recorded it.

An observation is never edited by hand, and its origin is kept. A re-run counts only where the environment is the run's
own world: the run's calls are replayed in it first, and must answer what the run recorded.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from flywheel.corrections.proposal import Message
from flywheel.corrections.workbench.rules import Refusal
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.diff import equal
from flywheel.workflows.environment import run_calls
from flywheel.workflows.guesses import unconfirmed_reads
from flywheel.workflows.pack import Pack

SEED = 0


class Observation(NamedTuple):
    """The tool messages that answer a step, and where they came from."""

    results: list[Message]
    origin: Any


def observe_again(
    pack: Pack, tools: Sequence[dict[str, Any]], original: Sequence[Message], before: Sequence[Message], step: Message
) -> Observation:
    """The results of `step`'s calls: from the environment where it is the run's world, else as recorded.

    Args:
        tools: what the run was offered; `x-access` says which of them write.
        original: the whole run, as recorded.
        before: what stands before the step now.

    Raises Refusal W13 saying why there is no result to be had.
    """
    if not step.get("tool_calls"):
        raise Refusal("W13", "the step calls no tool")
    problem = "the pack has no environment.py"
    if pack.has_environment():
        try:
            problem = why_not_the_world(pack, original)
            if not problem:
                world = pack.environment(SEED)
                for message in before:
                    run_calls(world, message)
                return Observation(run_calls(world, step), "reexecuted")
        except Exception as error:  # a pack's own code may raise anything; the page must not
            problem = f"the pack's environment failed: {type(error).__name__}: {error}"[:300]
    careful = unconfirmed_reads(pack.folder)  # read-only by a guess alone: taken to write
    known = [{**tool, "x-access": "write"} if tool["function"]["name"] in careful else tool for tool in tools]
    if (found := recorded(known, original, before, step)) is not None:
        return Observation(found, "recorded")
    raise Refusal("W13", f"{problem}, and the run holds no result of this very call")


def recorded(
    tools: Sequence[dict[str, Any]], original: Sequence[Message], before: Sequence[Message], step: Message
) -> list[Message] | None:
    """The run's own results of the very same calls, where no write lies between here and there; else None."""
    writes = {tool["function"]["name"] for tool in tools if tool.get("x-access") != "read_only"}
    here = len(before)
    shared = next(
        (i for i, (one, other) in enumerate(zip(before, original, strict=False)) if one != other),
        min(here, len(original)),
    )
    results: list[Message] = []
    for call in step["tool_calls"]:
        found = None
        for place, message in enumerate(original):
            between = original[min(shared, place) : max(shared, place)]
            if any(made["function"]["name"] in writes for m in between for made in m.get("tool_calls") or []):
                continue
            same = next((made for made in message.get("tool_calls") or [] if _same(made, call)), None)
            found = found or (_result_of(same["id"], original[place + 1 :]) if same else None)
        if found is None:
            return None
        results.append({**found, "tool_call_id": call["id"]})
    return results


def why_not_the_world(pack: Pack, original: Sequence[Message]) -> str:
    """Why the environment is not the run's world, or nothing: replayed in a fresh one, the run must answer as recorded."""
    world = pack.environment(SEED)
    replayed: dict[str, str] = {}
    compared = 0
    for index, message in enumerate(original):
        if message.get("tool_calls"):
            replayed.update((result["tool_call_id"], result["content"]) for result in run_calls(world, message))
        elif message["role"] == "tool":
            said = replayed.get(str(message.get("tool_call_id")))
            if said is None or not equal(_value(said), _value(message.get("content"))):
                return f"the pack's environment is not this run's world (message {index} comes out differently)"
            compared += 1
    return "" if compared else "the run recorded no result that would show the environment to be its world"


def _result_of(call_id: str, after: Sequence[Message]) -> Message | None:
    return next((m for m in after if m["role"] == "tool" and m.get("tool_call_id") == call_id), None)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["function"]["name"] != other["function"]["name"]:
        return False
    first, second = (parse_arguments(call["function"]["arguments"]).value for call in (one, other))
    return first is not None and second is not None and equal(first, second)


def _value(content: Any) -> Any:
    try:
        return json.loads(content)
    except (TypeError, ValueError, RecursionError):
        return content
