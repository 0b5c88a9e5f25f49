"""One evaluation session: one server, all arms on the same frozen cases, checks that the right model is served first.

Several workflows may have their sessions on one server, one after the other; each makes its own checks and its own A/A run there.

A server that dies is started again. Arms that ran to their end are kept, also over a killed run (`kept_arms.py`).
"""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from flywheel.benchmark.cases import Case
from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation.kept_arms import KeptArms
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.progress import report_progress
from flywheel.serving import canary
from flywheel.serving.client import ChatClient
from flywheel.serving.parity import check_prompt_parity
from flywheel.serving.shared_server import SharedServer
from flywheel.serving.vllm_server import BASE, Server, ServerSpec, vllm_server

CANDIDATE, INCUMBENT, INCUMBENT_AGAIN = "candidate", "incumbent", "incumbent_again"
RESTARTS = 2


class Session(NamedTuple):
    """Rows of all arms (EVAL_RESULTS without partition columns) and what the checks before them found, or could not look for.

    `shared_by` names the workflows that the server is shared by, where it is.
    `asked` names the endpoint that answered, where it was no server of adapters.
    """

    rows: list[dict[str, Any]]
    prompts_compared: int
    canary: list[canary.Finding]
    server_start_seconds: float
    not_proven: Sequence[str] = ()
    shared_by: str = ""
    asked: str | None = None


def arms_of(candidate: str, incumbent: str) -> list[Arm]:
    """Incumbent, candidate, and the incumbent once more; an adapter is served under its own id.

    The A/A run has seeds of its own: with the same ones a sampled run would only repeat itself.
    """
    return [
        Arm(INCUMBENT, incumbent, incumbent),
        Arm(CANDIDATE, candidate, candidate),
        Arm(INCUMBENT_AGAIN, incumbent, incumbent, seed=1000),
    ]


def repeated_cases(cases: Sequence[Case], count: int) -> list[Case]:
    """The cases of the A/A run: a fixed sample of `count`, in benchmark order."""
    drawn = set(random.Random(0).sample(range(len(cases)), min(count, len(cases))))
    return [case for number, case in enumerate(cases) if number in drawn]


def cases_of(benchmark: Benchmark, arms: Sequence[Arm]) -> dict[str, Sequence[Case]]:
    """Arm -> the cases it runs: all of them, of the A/A run a sample."""
    sample = repeated_cases(benchmark.cases, benchmark.pack.settings.evaluation.repeat_cases)
    return {arm.name: sample if arm.name == INCUMBENT_AGAIN else benchmark.cases for arm in arms}


def evaluate(
    benchmark: Benchmark, arms: Sequence[Arm], spec: ServerSpec, renderer: Renderer, *, log: Path, start_seconds: float,
    shared: SharedServer | None = None,
) -> Session:  # fmt: skip
    """Start one server, prove that it serves what was trained, run every arm one after the other, stop it.

    When the server dies it is started again, at most `RESTARTS` times: the arm it died in is run again from its first case, those before
    are kept. Raises FlywheelError when it dies more often; what ran to its end is kept for the next run of the stage.

    Args:
        log: of the server; what is kept lies beside it.
        shared: a server that several workflows ask, started already or not; it goes on afterwards.
    """
    start = shared.serve if shared else vllm_server
    before = [{"role": "system", "content": benchmark.pack.system}, *benchmark.examples]
    histories = [[*before, *case.messages] for case in one_a_category(benchmark.cases)]
    probes = canary.probes(renderer, histories, benchmark.pack.tools)
    died, last = "", log
    # PEFT would load other weights than a quantised server serves: there only the server is asked.
    with nullcontext() if spec.quantised else canary.reference(spec, probes, folder=log.parent / "canary") as peft:
        for attempt in range(RESTARTS + 1):
            at = log if not attempt else log.with_name(f"vllm-{attempt + 1}.log")
            with start(spec, log=at, start_seconds=start_seconds) as server:
                last = server.log
                asked = _Asked(server, spec.max_model_len, log.parent, histories, probes, peft)
                try:
                    return asyncio.run(_run(benchmark, arms, asked, renderer))
                except _ServerDied as death:
                    died = str(death)
    raise FlywheelError(
        f"vLLM ended {RESTARTS + 1} times while it was evaluated, the last time {died}", where=str(last),
        remedy="read the log (memory is the usual reason: `flywheel doctor`); arms that ran to their end are kept: run the stage again",
    )  # fmt: skip


def forget_arms(log: Path) -> None:
    """Remove the kept arms of the evaluation that logs there: call it once its rows are in the lake."""
    KeptArms(log.parent / "arms", {}).clear()


class _ServerDied(Exception):
    """The server no longer answers; the message says during what."""


class _Asked(NamedTuple):
    """The server, the tokens this workflow's own would take, where arms are kept, and what the checks before them ask."""

    server: Server
    longest: int
    folder: Path
    histories: list[list[Message]]
    probes: list[canary.Probe]
    peft: canary.Reference | None


async def _run(benchmark: Benchmark, arms: Sequence[Arm], asked: _Asked, renderer: Renderer) -> Session:
    server, peft = asked.server, asked.peft
    # Which start of a shared server answered decides no answer: an arm that another one finished is kept, and says which.
    kept = KeptArms(asked.folder / "arms", {"generated": benchmark.generation_sha256, "server": server.description})
    rows: list[dict[str, Any]] = []
    async with ChatClient(server.socket, renderer) as client:
        client.longest = asked.longest if server.shared else None
        names = [BASE, *sorted({arm.served_as for arm in arms} - {BASE})]
        try:
            compared = await check_prompt_parity(client, renderer, asked.histories, benchmark.pack.tools)
            served = await canary.ask_server(client, names, asked.probes)
        except httpx.HTTPError as error:
            if not await _answers(server, client):
                raise _ServerDied("before the first case") from error
            raise
        findings = canary.compare(served, peft.answer()) if peft else []
        if not peft:
            canary.applied(served)
        proof = {finding.adapter: {"canary": finding.sentence()} for finding in findings}
        for arm in arms:
            made = kept.read(arm)
            if made is None:
                part = benchmark._replace(cases=cases_of(benchmark, [arm])[arm.name])
                counter = Counter(arm.name, len(part.cases) * benchmark.pack.settings.evaluation.epochs)
                described = {**server.description, **server.shared, **proof.get(arm.served_as, {})}
                made = await run_arm(client, arm, part, server=described, finished=counter.one)
                if any(row["infra_error"] for row in made) and not await _answers(server, client):
                    raise _ServerDied(f"in arm {arm.name}")
                kept.keep(arm, made)
            rows += made
    return Session(rows, compared, findings, server.start_seconds, shared_by=server.shared.get("shared_by", ""))


async def _answers(server: Server, client: ChatClient) -> bool:
    """Whether the server lives and says that it is well."""
    return server.process.poll() is None and await client.healthy()


def one_a_category(cases: Sequence[Case]) -> list[Case]:
    """The first case of each category: whose prompts are compared before the arms run."""
    return list({case.category: case for case in reversed(cases)}.values())


class Counter:
    """Shows how many cases of an arm are done."""

    def __init__(self, arm: str, total: int) -> None:
        self.arm, self.total, self.done = arm, total, 0

    def one(self) -> None:
        """One more is."""
        self.done += 1
        report_progress("evaluation", self.arm.replace("_", " "), self.done, self.total)


def failures_preview(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The candidate's first failing cases, for a person: case, reason, what it wrote."""
    return [
        {"case": row["case_id"], "reason": row["failure_reason"], "output": " ⏎ ".join(json.loads(row["raw_outputs"]))}
        for row in rows
        if row["arm"] == CANDIDATE and row["success"] is False
    ]
