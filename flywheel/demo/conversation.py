"""Conversations between an agent and a simulated customer, and what an expert makes of one that went wrong."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from flywheel.corrections.proposal import Proposal
from flywheel.demo.protocol import Agent, Goal, Message, Simulation, Step
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.workflows.environment import run_calls
from flywheel.workflows.pack import Pack

MAXIMUM_STEPS = 6


class Conversation(NamedTuple):
    """What was said, and how it ended: success, failure, abandoned or unknown."""

    messages: list[Message]
    outcome: str


async def converse(
    goal: Goal,
    agent: Agent,
    pack: Pack,
    simulation: Simulation,
    *,
    start: list[Message] | None = None,
    budget: int = MAXIMUM_STEPS,
) -> Conversation:
    """Play a conversation to its end, from the opening or from `start` (whose calls are replayed in a fresh world)."""
    environment = pack.environment(goal.seed, goal.overrides)
    messages = start or [{"role": "system", "content": pack.system}, {"role": "user", "content": goal.opening}]
    messages = list(messages)
    for message in messages:
        run_calls(environment, message)
    objections = 0
    for _ in range(budget):
        message = await agent(messages)
        messages.append(message)
        if message.get("tool_calls"):
            messages += run_calls(environment, message)
            continue
        said = simulation.answer(goal, messages, objections)
        if said is None:
            return Conversation(messages, "abandoned" if objections else _outcome(goal, messages, simulation))
        objections += said not in goal.answers.values()
        messages.append({"role": "user", "content": said})
    return Conversation(messages, "abandoned")


def _outcome(goal: Goal, messages: list[Message], simulation: Simulation) -> str:
    right = simulation.solve(goal, messages[:-1])
    return "success" if acceptable(right, messages[-1]) else "unknown"


def acceptable(right: Step, message: Message) -> bool:
    """Whether a message is as good as the right step: equal calls, or a reply that says what it must."""
    wanted, made = right.message.get("tool_calls") or [], message.get("tool_calls") or []
    if len(wanted) != len(made):
        return False
    for one, other in zip(wanted, made, strict=True):
        if one["function"]["name"] != other["function"]["name"]:
            return False
        if parse_arguments(one["function"]["arguments"]).value != parse_arguments(other["function"]["arguments"]).value:
            return False
    said = str(message.get("content") or "").casefold()
    return bool(wanted) or all(any(phrase.casefold() in said for phrase in group) for group in right.must_say)


def inbox_line(
    goal: Goal, conversation: Conversation, pack: Pack, *, week: str, model: str, number: int
) -> dict[str, Any]:
    """The run as production would log it; the customer's feedback depends on how it ended, and is often missing."""
    rng = random.Random(f"{goal.goal_id}|feedback")
    started = datetime.fromisoformat(week).replace(tzinfo=UTC) + timedelta(minutes=37 * number % 10_000)
    score = {"success": 1, "abandoned": -1}.get(conversation.outcome)
    feedback = {"score": score, "comment": None} if score and rng.random() < 0.5 else None
    return {
        "id": goal.goal_id,
        "conversation_id": goal.goal_id,
        "started_at": started.isoformat(),
        "ended_at": (started + timedelta(seconds=40 * len(conversation.messages))).isoformat(),
        "workload_id": pack.name,
        "client_id": "simulated-shop",
        "principal": goal.principal,
        "model": model,
        "adapter_id": model,
        "tools": pack.tools,
        "messages": conversation.messages,
        "outcome": "abandoned" if conversation.outcome == "abandoned" else None,
        "feedback": feedback,
        "environment": "simulated",
        "metadata": {"simulated": True},
    }


async def correct_run(goal: Goal, messages: list[Message], pack: Pack, simulation: Simulation) -> Proposal | None:
    """An expert's correction: the first wrong step replaced by the right one, the rest re-executed to the end.

    None when every assistant step is acceptable.
    """
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or acceptable(simulation.solve(goal, messages[:index]), message):
            continue
        repaired = await converse(goal, expert(goal, simulation), pack, simulation, start=messages[:index], budget=8)
        trainable = [i for i, m in enumerate(repaired.messages) if i >= index and m["role"] == "assistant"]
        return Proposal(index, repaired.messages, trainable, "reexecuted")
    return None


def expert(goal: Goal, simulation: Simulation) -> Agent:
    """An agent that always takes the right step."""

    async def step(messages: list[Message]) -> Message:
        return simulation.solve(goal, messages).message

    return step


async def demonstration(
    goal: Goal, pack: Pack, simulation: Simulation, *, annotator: str, reviewer: str, first_step_only: bool = False
) -> dict[str, Any]:
    """One run done right, as the pack's `demonstrations/*.jsonl` holds it; or only its opening and the right first step."""
    budget = 1 if first_step_only else 8
    messages = (await converse(goal, expert(goal, simulation), pack, simulation, budget=budget)).messages
    if first_step_only:
        first = next(index for index, message in enumerate(messages) if message["role"] == "assistant")
        messages = messages[: first + 1]
    return {
        "conversation_id": f"demonstration-{goal.goal_id}",
        "tools": pack.tools,
        "messages": messages,
        "annotator_kind": "simulated",
        "annotator": annotator,
        "reviewer": reviewer,
        "qa_mode": pack.settings.qa_mode,
    }
