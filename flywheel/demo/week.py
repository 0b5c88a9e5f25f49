"""The simulated parts of a demo week: the pack's arrival, traffic to the served model, and the experts' work.

Everything else of the week is the product itself. What is written here lands where production and people would put it:
the inbox, the pack's demonstrations, the QA store.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.chat.render import Renderer
from flywheel.corrections.events import batch_id
from flywheel.corrections.stores import open_store
from flywheel.demo.conversation import Conversation, converse, demonstration, inbox_line
from flywheel.demo.expert_desk import ExpertDesk, Habits
from flywheel.demo.protocol import Goal, Message, Simulation
from flywheel.lake import Lake
from flywheel.progress import report_progress
from flywheel.serving.client import ChatClient
from flywheel.serving.vllm_server import ServerSpec, vllm_server
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.schema_check import tool_names
from flywheel.workflows.pack import Pack

DEMONSTRATION_SEED, TRAFFIC_SEED = 7_000, 1


class Traffic(NamedTuple):
    """One week's simulated traffic: the inbox file, runs in it, and whether it was there already."""

    file: Path
    runs: int
    unchanged: bool


def lay_out_pack(source: Path, target: Path) -> bool:
    """Copy a pack to where the installation keeps its packs; False when one is there already.

    `workflow.yaml` is what makes a folder a pack and comes last: a copy that broke off is gone on with, never taken for one.
    """
    last = "workflow.yaml"
    if (target / last).is_file():
        return False
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", last), dirs_exist_ok=True)
    partial = target / f"{last}.partial"
    shutil.copyfile(source / last, partial)
    partial.replace(target / last)
    return True


def write_demonstrations(
    pack: Pack, simulation: Simulation, runs: int, steps: int, seed: int = DEMONSTRATION_SEED
) -> int:
    """Simulated experts show how it is done, before the first week; nothing when they already did.

    `runs` whole runs, and `steps` openings with the right first step alone: choosing the tool and its arguments is what is
    hard, and such rows are short. Returns the number of lines written.
    """
    file = pack.folder / "demonstrations" / "simulated.jsonl"
    if file.is_file():
        return 0

    async def all_of_them() -> list[dict[str, Any]]:
        return [
            await demonstration(
                goal, pack, simulation, annotator="simulated-annotator-1", reviewer="simulated-reviewer-1",
                first_step_only=family == "step",
            )
            for family, count in (("run", runs), ("step", steps))
            for goal in simulation.make_goals(seed, count, family)
        ]  # fmt: skip

    file.parent.mkdir(exist_ok=True)
    lines = [canonical_json(line) + "\n" for line in asyncio.run(all_of_them())]
    _write_whole(file, "".join(lines))
    return len(lines)


def simulate_traffic(
    settings: Settings, pack: Pack, renderer: Renderer, spec: ServerSpec, simulation: Simulation, *, week: str, adapter: str,
    count: int, seed: int = TRAFFIC_SEED,
) -> Traffic:  # fmt: skip
    """`count` simulated customers talk to the served model; their runs land in the inbox as production would log them.

    A week that has its file is left as it is: traffic happens once.
    """
    inbox = settings.inbox(pack.name)
    inbox.mkdir(parents=True, exist_ok=True)
    file = inbox / f"{week}.jsonl"
    if file.is_file():
        return Traffic(file, len(file.read_text(encoding="utf-8").splitlines()), True)
    goals = simulation.make_goals(seed, count, week, tool_names(pack.tools))
    with vllm_server(
        spec, log=settings.scratch(pack.name, week, "traffic") / "vllm.log", start_seconds=settings.serve_start_seconds
    ) as server:
        talks = asyncio.run(_talk(goals, pack, renderer, simulation, server.socket, adapter))
    lines = [
        canonical_json(inbox_line(goal, talk, pack, week=week, model=adapter, number=number)) + "\n"
        for number, (goal, talk) in enumerate(zip(goals, talks, strict=True))
    ]
    hidden = settings.simulation(pack.name, week)
    hidden.mkdir(parents=True, exist_ok=True)
    _write_whole(hidden / "goals.jsonl", "".join(canonical_json(goal.to_json()) + "\n" for goal in goals))
    _write_whole(file, "".join(lines))
    return Traffic(file, len(lines), False)


async def _talk(
    goals: list[Goal], pack: Pack, renderer: Renderer, simulation: Simulation, socket: Path, adapter: str
) -> list[Conversation]:
    turnstile = asyncio.Semaphore(pack.settings.evaluation.concurrency)
    done = 0
    async with ChatClient(socket, renderer) as client:

        async def agent(messages: list[Message]) -> Message:
            prefix = f"call_{sum(message['role'] == 'assistant' for message in messages)}"
            limit = pack.settings.decoding.max_tokens
            return (await client.step(adapter, messages, pack.tools, max_tokens=limit, call_prefix=prefix)).message

        async def one(goal: Goal) -> Conversation:
            nonlocal done
            async with turnstile:
                talk = await converse(goal, agent, pack, simulation)
            done += 1
            report_progress("traffic", "simulated customers served", done, len(goals))
            return talk

        return list(await asyncio.gather(*(one(goal) for goal in goals)))


def answer_batch(
    settings: Settings, pack: Pack, simulation: Simulation, lake: Lake, *, week: str, seed: int = 0,
    habits: Habits = Habits(),  # noqa: B008  (frozen)
) -> dict[str, int]:  # fmt: skip
    """Simulated experts answer the week's batch and close it; nothing when it is closed already."""
    store = open_store(settings, pack.name)
    batch = store.batch_of(week, pack.name)
    if batch is None or batch.closed:
        return {}
    items = lake.read_partition("correction_batch", workflow=pack.name, week=week)
    # Planted and carried-over items show runs of earlier weeks.
    traces = lake.read_weeks("production_traces", workflow=pack.name, until=week)
    source = dict(zip(traces["trace_id"], traces["source_id"], strict=True))
    files = sorted(settings.simulation(pack.name, week).parent.glob("*/goals.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    by_source = {goal.goal_id: goal for goal in (Goal.from_json(json.loads(line)) for line in lines)}
    goals = {trace_id: by_source[source_id] for trace_id, source_id in source.items() if source_id in by_source}
    desk = ExpertDesk(
        store, batch_id(week, pack.name, batch.version), pack, simulation, goals, seed=seed, habits=habits
    )
    return desk.answer(items)


def _write_whole(file: Path, text: str) -> None:
    temporary = file.with_name(file.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)
