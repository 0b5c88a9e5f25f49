"""Run the benchmark against a served model: fixed order, fixed concurrency, greedy, raw outputs kept.

Greedy decoding still depends on batch composition, so every arm runs the same cases in the same order at the same
concurrency, and the incumbent is run again (A/A) to show the noise that is left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx

from flywheel.benchmark.cases import Case
from flywheel.chat.render import Message
from flywheel.evaluation.scorers.episode import score_episode
from flywheel.evaluation.scorers.score import SCORER_VERSION, Score
from flywheel.evaluation.scorers.step import score_step
from flywheel.serving.client import ChatClient, ModelStep
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.environment import Environment, run_calls
from flywheel.workflows.pack import Pack


class Arm(NamedTuple):
    """One side of the comparison: its name in `eval_results`, the adapter, and the name it is served under."""

    name: str
    adapter_id: str
    served_as: str


class Run(NamedTuple):
    """What one case produced before scoring."""

    transcript: list[Message]
    steps: list[ModelStep]
    environment: Environment | None
    ended: bool


class Benchmark(NamedTuple):
    """The frozen cases and what they are judged with."""

    cases: Sequence[Case]
    version: str
    pack: Pack


async def run_arm(
    client: ChatClient, arm: Arm, benchmark: Benchmark, *, server: dict[str, str], finished: Callable[[], None]
) -> list[dict[str, Any]]:
    """EVAL_RESULTS rows (without partition columns) of one arm, in case order.

    `finished` is called after each case. A server or network error marks the case `infra_error`; it is never scored 0.
    """
    turnstile = asyncio.Semaphore(benchmark.pack.settings.evaluation.concurrency)

    async def one(case: Case) -> dict[str, Any]:
        async with turnstile:
            row = await _run_and_score(client, arm, case, benchmark, server)
        finished()
        return row

    return list(await asyncio.gather(*(one(case) for case in benchmark.cases)))


async def _run_and_score(
    client: ChatClient, arm: Arm, case: Case, benchmark: Benchmark, server: dict[str, str]
) -> dict[str, Any]:
    started = time.monotonic()
    run, score, infra_error = Run([], [], None, False), None, None
    try:
        run = await _run_case(client, arm, case, benchmark.pack)
        score = _score(case, run, benchmark.pack)
    except httpx.HTTPStatusError as error:
        infra_error = f"HTTP {error.response.status_code}: {error.response.text[:300]}"
    except httpx.HTTPError as error:
        infra_error = f"{type(error).__name__}: {error}"
    return {
        "case_id": case.id,
        "case_cluster": case.cluster,
        "category": case.category,
        "arm": arm.name,
        "epoch": 0,
        "adapter_id": arm.adapter_id,
        **_score_columns(score),
        "infra_error": infra_error,
        "transcript": canonical_json(run.transcript),
        "raw_outputs": canonical_json([step.raw_output for step in run.steps]),
        "finish_reasons": canonical_json([step.finish_reason for step in run.steps]),
        "model_steps": len(run.steps),
        "prompt_tokens": sum(len(step.prompt_ids) for step in run.steps),
        "completion_tokens": sum(step.completion_tokens for step in run.steps),
        "seconds": time.monotonic() - started,
        "benchmark_version": benchmark.version,
        "scorer_version": SCORER_VERSION,
        "decoding": benchmark.pack.settings.decoding.mode,
        "server": canonical_json(server),
    }


def _score_columns(score: Score | None) -> dict[str, Any]:
    return {
        "success": score.success if score else None,
        "failure_reason": score.failure_reason if score else None,
        "schema_valid_calls": score.schema_valid_calls if score else 0,
        "calls": score.calls if score else 0,
        "tool_selection": score.tool_selection if score else None,
        "arguments_match": score.arguments_match if score else None,
        "forbidden_calls": score.forbidden_calls if score else 0,
    }


async def _run_case(client: ChatClient, arm: Arm, case: Case, pack: Pack) -> Run:
    """One step for call and reply cases, a whole episode for the others."""
    messages: list[Message] = [{"role": "system", "content": pack.system}, *case.messages]
    max_tokens = pack.settings.decoding.max_tokens
    expectation = case.expectation
    if expectation.kind != "episode":
        step = await client.step(arm.served_as, messages, pack.tools, max_tokens=max_tokens, call_prefix="call_0")
        return Run([*case.messages, step.message], [step], None, True)
    environment = pack.environment(expectation.environment.seed, expectation.environment.overrides)
    replies = list(expectation.replies)
    steps: list[ModelStep] = []
    ended = False
    while len(steps) < expectation.max_steps and not ended:
        prefix = f"call_{len(steps)}"
        step = await client.step(arm.served_as, messages, pack.tools, max_tokens=max_tokens, call_prefix=prefix)
        steps.append(step)
        messages.append(step.message)
        if step.message.get("tool_calls"):
            messages += run_calls(environment, step.message)
        elif replies:
            messages.append({"role": "user", "content": replies.pop(0)})
        else:
            ended = True
    return Run(messages[1:], steps, environment, ended)


def _score(case: Case, run: Run, pack: Pack) -> Score:
    expectation = case.expectation
    if expectation.kind != "episode" or run.environment is None:
        return score_step(case, run.transcript[-1], pack.tools)
    gold = pack.environment(expectation.environment.seed, expectation.environment.overrides)
    for action in expectation.actions:
        gold.call(action.name, action.arguments)
    return score_episode(case, run.transcript, run.environment.state(), gold.state(), run.ended, pack.tools)
