"""Served evaluation beside vLLM offline and transformers: `python -m flywheel.evaluation.bench BASE_MODEL PACK`; prints JSON rows.

The same prompts, the step cases of the pack's benchmark, at the concurrency of the pack, greedy, under one limit of new tokens; the base
model, which talks until the limit more often than a trained one. The three take turns on prompts that none has seen; model loading does not
count. A rate is cases a second, the median over the turns; transformers takes one turn, which is long enough.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.bench_row import row
from flywheel.benchmark.cases import load_cases
from flywheel.chat.render import Message, Renderer
from flywheel.serving.client import ChatClient
from flywheel.serving.vllm_server import BASE, KV_CACHE_BYTES, ServerSpec, serving_environment, vllm_server
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack

TURNS = 3


def rows(base: Path, folder: Path, *, turns: int = TURNS, limit: int | None = None) -> list[dict[str, Any]]:
    """Bench rows `evaluation` (against vLLM offline) and `evaluation_against_transformers`."""
    pack = load_pack(folder)
    renderer = Renderer(base / "tokenizer.json", pack.settings.model_family)
    histories = [[{"role": "system", "content": pack.system}, *case.messages]
                 for case in load_cases(folder / "benchmark", pack.tools) if case.expectation.kind != "episode"]  # fmt: skip
    # Every turn gets cases of all kinds: they lie sorted by id.
    shares = [histories[turn::turns][:limit] for turn in range(turns)]
    spec = ServerSpec(base, renderer.family, max_model_len=pack.settings.max_model_len,
                      max_num_seqs=pack.settings.evaluation.concurrency)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        request = Path(scratch) / "request.json"
        request.write_text(json.dumps(_request(base, pack, spec, renderer)), encoding="utf-8")
        served, offline = _vllm_turns(spec, request, renderer, pack, shares)
        with _yardstick("transformers", request, spec.threads) as transformers:
            _ask(transformers, [renderer.prompt_ids(history, pack.tools) for history in shares[0][:2]])
            slow = _rate(transformers, renderer, pack, shares[0])
    return [
        row("evaluation", served, "cases/s", baseline=offline, target=0.85),
        row("evaluation_against_transformers", served, "cases/s", baseline=slow, target=6.0),
    ]


def _request(base: Path, pack: Pack, spec: ServerSpec, renderer: Renderer) -> dict[str, Any]:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    end = config["eos_token_id"]
    end = end[0] if isinstance(end, list) else end
    pad = config.get("pad_token_id")
    return {
        "model": str(base), "max_model_len": spec.max_model_len, "concurrency": spec.max_num_seqs, "threads": spec.threads,
        "kv_cache_memory_bytes": KV_CACHE_BYTES, "max_tokens": pack.settings.decoding.max_tokens, "eos_token_id": end,
        "pad_token_id": end if pad is None else pad,
    }  # fmt: skip


def _vllm_turns(
    spec: ServerSpec, request: Path, renderer: Renderer, pack: Pack, shares: Sequence[list[list[Message]]]
) -> tuple[float, float]:
    """Median rates of server and offline engine, both alive and taking turns; each first sees the system prompt once."""
    found: tuple[list[float], list[float]] = ([], [])
    with vllm_server(spec, log=request.with_name("vllm.log"), start_seconds=600) as server:
        with _yardstick("vllm", request, spec.threads) as offline:
            first = shares[0][:1]
            asyncio.run(_serve(server.socket, renderer, pack, first))
            _ask(offline, [renderer.prompt_ids(history, pack.tools) for history in first])
            for number, share in enumerate(shares):
                order = (0, 1) if number % 2 == 0 else (1, 0)
                for which in order:
                    if which:
                        found[1].append(_rate(offline, renderer, pack, share))
                    else:
                        found[0].append(len(share) / asyncio.run(_serve(server.socket, renderer, pack, share)))
    return statistics.median(found[0]), statistics.median(found[1])


async def _serve(socket: Path, renderer: Renderer, pack: Pack, histories: Sequence[list[Message]]) -> float:
    """Wall seconds of the histories' next steps through the client that evaluation uses."""
    turnstile = asyncio.Semaphore(pack.settings.evaluation.concurrency)
    limit = pack.settings.decoding.max_tokens
    async with ChatClient(socket, renderer) as client:

        async def one(history: list[Message]) -> None:
            async with turnstile:
                await client.step(BASE, history, pack.tools, max_tokens=limit)

        started = time.perf_counter()
        await asyncio.gather(*(one(history) for history in histories))
        return time.perf_counter() - started


@contextmanager
def _yardstick(kind: str, request: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "flywheel.serving.offline", kind, str(request)]
    log = request.with_name(f"{kind}.log").open("w")
    environment = serving_environment(threads) if kind == "vllm" else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
    )
    try:
        assert child.stdout is not None
        if child.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{kind} did not start: {Path(log.name).read_text(encoding='utf-8')[-2000:]}")
        yield child
    finally:
        child.kill()
        child.wait()
        log.close()


def _rate(child: subprocess.Popen[str], renderer: Renderer, pack: Pack, histories: Sequence[list[Message]]) -> float:
    answer = _ask(child, [renderer.prompt_ids(history, pack.tools) for history in histories])
    return len(histories) / answer["seconds"]


def _ask(child: subprocess.Popen[str], prompts: list[list[int]]) -> dict[str, Any]:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(prompts) + "\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


if __name__ == "__main__":
    print(json.dumps(rows(Path(sys.argv[1]), Path(sys.argv[2]))))
