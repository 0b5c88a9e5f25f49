"""Run the benchmark against a served model: fixed order, fixed concurrency, fixed seeds, raw outputs kept.

Greedy decoding still depends on batch composition, so every arm runs the same cases in the same order at the same
concurrency, and the incumbent is run again (A/A) to show the noise that is left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from flywheel.benchmark.cases import Case, case_content, tools_of
from flywheel.chat.render import Message
from flywheel.evaluation.scoring import ANSWERED, CONTEXT_LENGTH, MAX_STEPS, Scorer
from flywheel.serving.client import ModelStep, StepClient
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.environment import run_calls
from flywheel.workflows.pack import Pack


class Arm(NamedTuple):
    """One side of the comparison: its name in `eval_results`, the adapter, the name it is served under, its first seed."""

    name: str
    adapter_id: str
    served_as: str
    seed: int = 0


class Benchmark(NamedTuple):
    """The frozen cases and what they are judged with; `generation_sha256` hashes all that decides what is generated.

    `examples` are messages shown between the system prompt and every case.
    """

    cases: Sequence[Case]
    version: str
    pack: Pack
    base_model_sha256: str = ""
    generation_sha256: str = ""
    examples: Sequence[Message] = ()


@dataclass
class Run:
    """What one case has produced so far: the messages after the system prompt, the model's steps, and why it stopped."""

    messages: list[Message]
    steps: list[ModelStep] = field(default_factory=list)
    stop_reason: str | None = None
    infra_error: str | None = None


async def run_arm(
    client: StepClient, arm: Arm, benchmark: Benchmark, *, server: dict[str, str], finished: Callable[[], None]
) -> list[dict[str, Any]]:
    """EVAL_RESULTS rows (without partition columns) of one arm, epoch by epoch, in case order.

    `finished` is called after each case. A server or network error marks the case `infra_error`; it is never scored 0.
    """
    settings = benchmark.pack.settings.evaluation
    turnstile = asyncio.Semaphore(settings.concurrency)

    async def one(case: Case, epoch: int) -> dict[str, Any]:
        async with turnstile:
            row = await generate(client, arm, case, benchmark, server, epoch)
        finished()
        return row

    pairs = [(case, epoch) for epoch in range(settings.epochs) for case in benchmark.cases]
    generated = await asyncio.gather(*(one(case, epoch) for case, epoch in pairs))
    scorer = Scorer(benchmark.pack, benchmark.cases)
    return [scorer.row(row) for row in generated]


async def generate(
    client: StepClient, arm: Arm, case: Case, benchmark: Benchmark, server: dict[str, str], epoch: int
) -> dict[str, Any]:
    """One case run to its end: what identifies the row and what was generated, not scored yet."""
    run, seed = Run([*case.messages]), arm.seed + epoch
    started_at, started = datetime.now(UTC), time.monotonic()
    try:
        await _run_case(client, arm, case, benchmark, run, seed)
    except httpx.HTTPStatusError as error:
        said = error.response.text[:300]
        # A run that filled its own context is the model's; a case that never fitted is not.
        if run.steps and error.response.status_code == httpx.codes.BAD_REQUEST and "context length" in said:
            run.stop_reason = CONTEXT_LENGTH
        else:
            run.infra_error = f"HTTP {error.response.status_code}: {said}"
    except httpx.HTTPError as error:
        run.infra_error = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    return {
        **identity(arm, case, benchmark, server, epoch),
        **stored_run(run),
        "started_at": started_at,
        "seconds": seconds,
    }


def identity(arm: Arm, case: Case, benchmark: Benchmark, server: dict[str, str], epoch: int) -> dict[str, Any]:
    """The columns that say which case was run with what."""
    decoding = benchmark.pack.settings.decoding
    return {
        "case_id": case.id,
        "case_sha256": sha256_of(case_content(case)),
        "case_cluster": case.cluster,
        "category": case.category,
        "slice": case.slice,
        "arm": arm.name,
        "epoch": epoch,
        "seed": arm.seed + epoch,
        "adapter_id": arm.adapter_id,
        "base_model_sha256": benchmark.base_model_sha256,
        "benchmark_version": benchmark.version,
        "generation_sha256": benchmark.generation_sha256,
        "decoding": decoding.mode,
        "sampling": canonical_json(
            {"temperature": decoding.temperature, "top_p": 1, "max_tokens": decoding.max_tokens, "tool_choice": "auto"}
        ),
        "server": canonical_json(server),
    }


def not_run(arm: Arm, benchmark: Benchmark, reason: str) -> list[dict[str, Any]]:
    """The rows of an arm that could not be run at all: every case an infrastructure error with the reason."""
    scorer = Scorer(benchmark.pack, benchmark.cases)
    now = datetime.now(UTC)
    rows = []
    for epoch in range(benchmark.pack.settings.evaluation.epochs):
        for case in benchmark.cases:
            empty = stored_run(Run([*case.messages], infra_error=reason))
            rows.append({**identity(arm, case, benchmark, {}, epoch), **empty, "started_at": now, "seconds": 0.0})
    return [scorer.row(row) for row in rows]


def stored_run(run: Run) -> dict[str, Any]:
    """The columns that say what came out of a run."""
    return {
        "infra_error": run.infra_error,
        "stop_reason": run.stop_reason,
        "transcript": canonical_json(run.messages),
        "raw_outputs": canonical_json([step.raw_output for step in run.steps]),
        "prompt_sha256": canonical_json([sha256_of(step.prompt_ids) for step in run.steps]),
        "completion_ids": canonical_json([step.completion_ids for step in run.steps]),
        "finish_reasons": canonical_json([step.finish_reason for step in run.steps]),
        "step_seconds": canonical_json([step.seconds for step in run.steps]),
        "model_steps": len(run.steps),
        "prompt_tokens": sum(
            len(step.prompt_ids) if step.prompt_tokens is None else step.prompt_tokens for step in run.steps
        ),
        "completion_tokens": sum(step.completion_tokens for step in run.steps),
    }


async def _run_case(client: StepClient, arm: Arm, case: Case, benchmark: Benchmark, run: Run, seed: int) -> None:
    """One step for call and reply cases, a whole episode for the others; what was done stands in `run`, also after an error."""
    pack = benchmark.pack
    before: list[Message] = [{"role": "system", "content": pack.system}, *benchmark.examples]
    decoding, tools = pack.settings.decoding, tools_of(case, pack.tools)
    expectation = case.expectation
    episode = expectation if expectation.kind == "episode" else None
    environment = pack.environment(episode.environment.seed, episode.environment.overrides) if episode else None
    replies = list(episode.replies) if episode else []
    while run.stop_reason is None:
        step = await client.step(
            arm.served_as, [*before, *run.messages], tools, max_tokens=decoding.max_tokens,
            call_prefix=f"call_{len(run.steps)}", temperature=decoding.temperature, seed=seed,
        )  # fmt: skip
        run.steps.append(step)
        run.messages.append(step.message)
        if environment and step.message.get("tool_calls"):
            run.messages += run_calls(environment, step.message)
        elif replies:
            run.messages.append({"role": "user", "content": replies.pop(0)})
        else:
            run.stop_reason = ANSWERED
        if run.stop_reason is None and episode and len(run.steps) >= episode.max_steps:
            run.stop_reason = MAX_STEPS
