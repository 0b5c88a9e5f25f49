"""One evaluation session: one server, all arms on the same frozen cases, checks that the right model is served first."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case
from flywheel.chat.render import Message, Renderer
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.progress import report_progress
from flywheel.serving import canary
from flywheel.serving.client import ChatClient
from flywheel.serving.parity import check_prompt_parity
from flywheel.serving.vllm_server import BASE, Server, ServerSpec, vllm_server

CANDIDATE, INCUMBENT, INCUMBENT_AGAIN = "candidate", "incumbent", "incumbent_again"


class Session(NamedTuple):
    """Rows of all arms (EVAL_RESULTS without partition columns) and what the checks before them found."""

    rows: list[dict[str, Any]]
    prompts_compared: int
    canary: list[canary.Finding]
    server_start_seconds: float


def arms_of(candidate: str, incumbent: str) -> list[Arm]:
    """Incumbent, candidate, and the incumbent once more; an adapter is served under its own id."""
    return [
        Arm(INCUMBENT, incumbent, incumbent),
        Arm(CANDIDATE, candidate, candidate),
        Arm(INCUMBENT_AGAIN, incumbent, incumbent),
    ]


def repeated_cases(cases: Sequence[Case], count: int) -> list[Case]:
    """The cases of the A/A run: a fixed sample of `count`, in benchmark order."""
    drawn = set(random.Random(0).sample(range(len(cases)), min(count, len(cases))))
    return [case for number, case in enumerate(cases) if number in drawn]


def evaluate(
    benchmark: Benchmark, arms: Sequence[Arm], spec: ServerSpec, renderer: Renderer, *, log: Path, start_seconds: float
) -> Session:
    """Start one server, prove that it serves what was trained, run every arm one after the other, stop it."""
    pack = benchmark.pack
    system = {"role": "system", "content": pack.system}
    histories = [[system, *case.messages] for case in _one_a_category(benchmark.cases)]
    probes = canary.probes(renderer, histories, pack.tools)
    with canary.reference(spec, probes, folder=log.parent / "canary") as peft:
        with vllm_server(spec, log=log, start_seconds=start_seconds) as server:
            return asyncio.run(_run(benchmark, arms, server, renderer, histories, probes, peft))


async def _run(
    benchmark: Benchmark, arms: Sequence[Arm], server: Server, renderer: Renderer, histories: list[list[Message]],
    probes: list[canary.Probe], peft: canary.Reference,
) -> Session:  # fmt: skip
    pack = benchmark.pack
    rows: list[dict[str, Any]] = []
    async with ChatClient(server.socket, renderer) as client:
        compared = await check_prompt_parity(client, renderer, histories, pack.tools)
        served = await canary.ask_server(client, [BASE, *sorted({arm.served_as for arm in arms} - {BASE})], probes)
        findings = canary.compare(served, peft.answer())
        proof = {finding.adapter: {"canary": finding.sentence()} for finding in findings}
        for arm in arms:
            again = arm.name == INCUMBENT_AGAIN
            cases = repeated_cases(benchmark.cases, pack.settings.evaluation.repeat_cases) if again else benchmark.cases
            counter = _Counter(arm.name, len(cases))
            part = benchmark._replace(cases=cases)
            rows += await run_arm(
                client, arm, part, server=server.description | proof.get(arm.served_as, {}), finished=counter.one
            )
    return Session(rows, compared, findings, server.start_seconds)


def _one_a_category(cases: Sequence[Case]) -> list[Case]:
    return list({case.category: case for case in reversed(cases)}.values())


class _Counter:
    def __init__(self, arm: str, total: int) -> None:
        self.arm, self.total, self.done = arm, total, 0

    def one(self) -> None:
        self.done += 1
        report_progress("evaluation", self.arm.replace("_", " "), self.done, self.total)


def failures_preview(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The candidate's first failing cases, for a person: case, reason, what it wrote."""
    return [
        {"case": row["case_id"], "reason": row["failure_reason"], "output": " ⏎ ".join(json.loads(row["raw_outputs"]))}
        for row in rows
        if row["arm"] == CANDIDATE and row["success"] is False
    ]
