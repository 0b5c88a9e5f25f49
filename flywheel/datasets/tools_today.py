"""Steps under today's tools and response schemas: a correction of last spring may call a tool that was renamed, or that is gone.

A step whose tools are today's is left as it is. Otherwise its target's calls are judged by today's tools of the same name, after the
pack's `datasets.tool_migrations` (old name -> new name); what no longer holds is kept out, with the reason, and never lost silently. So are
answers that must be structured and are not; the others are learned in canonical JSON, as plain content.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.chat.render import canonical_tools
from flywheel.datasets.steps import Message, Step
from flywheel.toolcalls.schema_check import check_call, tool_names
from flywheel.toolcalls.structured_answers import ResponseSchema, canonical_answer, check_answer, response_at


class Judged(NamedTuple):
    """A step as today's tools have it; `kept_out` is tool_gone or invalid_today, empty where the step may train."""

    step: Step
    kept_out: str = ""
    detail: str = ""


def judge_today(step: Step, tools: Sequence[dict[str, Any]], migrations: Mapping[str, str]) -> Judged:
    """Check, and where the pack says so rename, the calls of a step whose tools are not today's."""
    today = list(tools)
    if not step.tools or canonical_tools(step.tools) == canonical_tools(today):
        return Judged(step)
    known = set(tool_names(today))
    renamed = any(
        migrations.get(call["function"]["name"], call["function"]["name"]) != call["function"]["name"]
        for message in (*step.history, step.target)
        for call in message.get("tool_calls") or []
    )
    for call in step.target.get("tool_calls") or []:
        old = call["function"]["name"]
        name = migrations.get(old, old)
        if name not in known:
            remedy = f"tool {old} is not among today's; name its successor in datasets.tool_migrations"
            return Judged(step, "tool_gone", remedy)
        problems = check_call(today, name, call["function"]["arguments"])
        if problems:
            return Judged(step, "invalid_today", f"{name}: {problems[0].message}")
    if not renamed:
        return Judged(step)
    history = [_renamed(message, migrations) for message in step.history]
    # Both sides of a pair, else the old name alone would tell them apart.
    rejected = _renamed(step.rejected, migrations) if step.rejected else None
    return Judged(
        step._replace(tools=today, history=history, target=_renamed(step.target, migrations), rejected=rejected)
    )


def judge_answer(step: Step, responses: Sequence[ResponseSchema]) -> Judged:
    """Check a target that must be a structured answer, whoever wrote it; one that is gets its canonical text.

    Replay is exempt: it is the base model's own, of other systems.
    """
    response = response_at(responses, [*step.history, step.target], len(step.history))
    if response is None or step.source == "replay":
        return Judged(step)
    content = str(step.target.get("content") or "")
    errors = check_answer(response, content)
    if errors:
        return Judged(step, "invalid_today", f"answer {response.name}: {errors[0].message}")
    return Judged(step._replace(target={**step.target, "content": canonical_answer(content)}))


def _renamed(message: Message, migrations: Mapping[str, str]) -> Message:
    calls = message.get("tool_calls")
    if not calls:
        return message
    made = [
        {**c, "function": {**c["function"], "name": migrations.get(c["function"]["name"], c["function"]["name"])}}
        for c in calls
    ]
    return {**message, "tool_calls": made}
