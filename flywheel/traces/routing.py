"""Whose run is it? The pack's routes tell the workflows of one shared log apart.

The first route whose named conditions all hold decides. A run of another workflow is counted and left to that workflow's pack; one that
no route knows is refused as `unrouted`, so that a new agent in the log is seen and nobody trains on it.
"""

import json
from collections.abc import Sequence
from functools import lru_cache

from flywheel.traces.refused import Refused
from flywheel.traces.trace import Trace
from flywheel.workflows.route import Route


def workflow_of(trace: Trace, routes: Sequence[Route]) -> str:
    """The workflow of the first route that holds; raises Refused when none does."""
    for route in routes:
        if _holds(route, trace):
            return route.workflow
    raise Refused(
        "unrouted",
        "no route of the pack knows this run",
        "add it to traces.routes in workflow.yaml, then: flywheel quarantine --retry",
    )


def _holds(route: Route, trace: Trace) -> bool:
    if route.workload_id and trace.workload_id not in route.workload_id:
        return False
    if route.agent_name and trace.agent_name not in route.agent_name:
        return False
    if route.request_model and trace.request_model not in route.request_model:
        return False
    if route.system_contains is not None and route.system_contains not in system_prompt(trace):
        return False
    return not route.tools or bool(tools_of_run(trace) & set(route.tools))


def system_prompt(trace: Trace) -> str:
    """The system messages a run opens with, one text; empty where it logs none."""
    opening = []
    for message in trace.messages:
        if message.role != "system":
            break
        opening.append(message.content or "")
    return "\n\n".join(opening)


def tools_of_run(trace: Trace) -> frozenset[str]:
    """Names of the tools a run was offered; of those it called where its source logs none."""
    if trace.tools.sha256:
        return _names(trace.tools.text)
    return frozenset(call.function.name for message in trace.messages for call in message.tool_calls or [])


@lru_cache(256)
def _names(tools: str) -> frozenset[str]:
    return frozenset(tool["function"]["name"] for tool in json.loads(tools))
