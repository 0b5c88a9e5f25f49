"""Sampling a replay set: the base model, served by vLLM in a child, answers a frozen prompt set once."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from flywheel.chat.render import Renderer
from flywheel.datasets.replay import ANSWERS, MANIFEST, Prompts, ReplaySet
from flywheel.errors import FlywheelError
from flywheel.progress import report_progress
from flywheel.serving.client import ChatClient, ModelStep
from flywheel.serving.vllm_server import BASE, ServerSpec, vllm_server
from flywheel.settings import Settings
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.base_model import BaseModel

_AT_ONCE, _SECONDS = 8, 1_800


class Sampling(NamedTuple):
    """How the base answers: greedy at temperature 0, else drawn with the seed; an answer that is cut off trains nothing."""

    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 256


class Sampled(NamedTuple):
    """The set, whether it was there already, and how many prompts have no usable answer, by reason."""

    found: ReplaySet
    unchanged: bool
    left_out: dict[str, int]


def sample_replay(
    settings: Settings, base: BaseModel, renderer: Renderer, prompts: Prompts, sampling: Sampling
) -> Sampled:
    """The set of this base, prompts and sampling, sampled unless it is there; its folder appears whole or not at all.

    Raises FlywheelError when the server does not start, or not one answer is whole.
    """
    decisive = {"base_sha256": base.sha256, "template_sha256": renderer.template_sha256, "prompts_sha256": prompts.sha256,
                "sampling": sampling._asdict()}  # fmt: skip
    folder = settings.replay() / f"{base.name}-{sha256_of(decisive)[:12]}"
    if (folder / MANIFEST).is_file():
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Sampled(ReplaySet(folder, manifest), True, manifest["left_out"])
    spec = ServerSpec(base.folder, renderer.family, max_num_seqs=_AT_ONCE, threads=settings.threads)
    log = settings.home / "scratch" / "replay" / "vllm.log"
    with vllm_server(spec, log=log, start_seconds=settings.serve_start_seconds) as server:
        try:
            answers = asyncio.run(_answers(server.socket, renderer, prompts, sampling))
        except httpx.TransportError as error:
            raise FlywheelError(f"the server stopped answering: {type(error).__name__}", where=str(log),
                                remedy="read the log, then run it again: a set is kept whole or not at all") from None  # fmt: skip
        served_by = server.description
    rows = [row for row in answers if "target" in row]
    left_out = dict(Counter(row["reason"] for row in answers if "reason" in row))
    if not rows:
        raise FlywheelError(f"not one of {len(answers)} answers is usable: {left_out}", where=f"base model {base.name}",
                            remedy="raise --max-tokens, or look at the server's log")  # fmt: skip
    manifest = {
        **decisive, "base": base.name, "prompts": prompts.name, "rows": len(rows), "left_out": left_out, "answers_sha256": sha256_of(rows),
        "server": served_by, "sampled_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    _write(folder, rows, manifest)
    return Sampled(ReplaySet(folder, manifest), False, left_out)


async def _answers(socket: Path, renderer: Renderer, prompts: Prompts, sampling: Sampling) -> list[dict[str, Any]]:
    """For each prompt, in order, {messages, target}, or {reason}."""
    turnstile, done = asyncio.Semaphore(_AT_ONCE), 0
    async with ChatClient(socket, renderer, timeout_seconds=_SECONDS) as client:

        async def ask(messages: list[dict[str, Any]], attempts: int = 3) -> ModelStep:
            try:
                return await client.step(BASE, messages, [], **sampling._asdict())
            except httpx.RemoteProtocolError:  # the server closed a kept connection just then
                if attempts == 1:
                    raise
            return await ask(messages, attempts - 1)

        async def one(messages: list[dict[str, Any]]) -> dict[str, Any]:
            nonlocal done
            async with turnstile:
                try:
                    step = await ask(messages)
                except httpx.HTTPStatusError as error:
                    return {"reason": f"http_{error.response.status_code}"}
            done += 1
            report_progress("replay", "prompts answered by the base model", done, len(prompts.prompts))
            if step.finish_reason == "length":
                return {"reason": "cut_off"}
            return (
                {"messages": messages, "target": step.message} if step.message.get("content") else {"reason": "empty"}
            )

        return list(await asyncio.gather(*(one(messages) for messages in prompts.prompts)))


def _write(folder: Path, rows: list[dict[str, Any]], manifest: Mapping[str, Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sampling-") as made:
        whole = Path(made) / "set"
        whole.mkdir()
        (whole / ANSWERS).write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
        (whole / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        whole.replace(folder)
