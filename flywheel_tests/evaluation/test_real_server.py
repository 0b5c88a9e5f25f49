"""A real vLLM with the tiny model: seeds are honoured, ids come back, and a context that overflows is told from a server that fails."""

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel.benchmark.cases import Case
from flywheel.chat import Renderer
from flywheel.chat.families import find_family
from flywheel.evaluation import session
from flywheel.evaluation.attached_session import Attached, evaluate_attached
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.evaluation.session import arms_of
from flywheel.privacy.egress import Destination
from flywheel.processes import child_command, start_group, stop_group
from flywheel.serving.attached import AttachedClient
from flywheel.serving.client import ChatClient
from flywheel.serving.vllm_server import (
    CHILD,
    Server,
    ServerSpec,
    serving_environment,
    vllm_server,
    wait_until_healthy,
)
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.evaluation_settings import Decoding, Evaluation
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import Attach

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_seeds_ids_and_an_overflowing_context_on_a_real_server(door: Pack, door_cases: list[Case], tmp_path: Path):
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(tmp_path), str(door.folder)]
    subprocess.run(command, check=True, capture_output=True)
    base = find_base_model(tmp_path, "tiny-random")
    renderer = Renderer(base.tokenizer_file, "chatml_hermes")
    update = {
        "decoding": Decoding(mode="sampled_auto", temperature=2, max_tokens=24),
        "evaluation": Evaluation(epochs=3),
    }
    pack = dataclasses.replace(door, settings=door.settings.model_copy(update=update))
    episode = next(case for case in door_cases if case.category == "multi_step")
    talk = episode.expectation.model_copy(update={"replies": ["and then " * 600], "max_steps": 4})
    cases = [*door_cases[:3], episode.model_copy(update={"expectation": talk})]
    spec = ServerSpec(base.folder, find_family("chatml_hermes"), max_model_len=512)

    async def arms(server_socket: Path) -> list[list[dict]]:
        async with ChatClient(server_socket, renderer) as client:
            benchmark = Benchmark(cases, "v1", pack)
            sides = [
                Arm("candidate", "base", "base"),
                Arm("incumbent", "base", "base"),
                Arm("incumbent_again", "base", "base", seed=1000),
            ]
            return [await run_arm(client, side, benchmark, server={}, finished=lambda: None) for side in sides]

    with vllm_server(spec, log=tmp_path / "vllm.log", start_seconds=240) as server:
        one, same, other = asyncio.run(arms(server.socket))
    assert [row["infra_error"] for row in [*one, *same, *other]] == [None] * 36
    ids = [[json.loads(row["completion_ids"])[0] for row in rows] for rows in (one, same, other)]
    assert ids[0] == ids[1], "the same seeds give the same samples"
    assert ids[0] != ids[2] and ids[0][:4] != ids[0][4:8], "the A/A run and each epoch have seeds of their own"
    assert all(len(first) <= 24 and renderer.decode(first) for first in ids[0])
    overflow = [row for row in one if row["case_id"] == episode.id]
    assert {row["stop_reason"] for row in overflow} == {"context_length"} and {
        row["model_steps"] for row in overflow
    } == {1}
    assert not any(row["success"] for row in overflow)


def test_a_killed_vllm_is_started_again_and_only_its_arm_is_run_again(
    door: Pack, door_cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """kill -9 at the candidate's first case: the incumbent's rows stay, the candidate is run again, nothing is left behind."""
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(tmp_path), str(door.folder)]
    subprocess.run(command, check=True, capture_output=True)
    base = find_base_model(tmp_path, "tiny-random")
    pack = dataclasses.replace(door, settings=door.settings.model_copy(update={"decoding": Decoding(max_tokens=12)}))
    sockets, family, ran = [], [], []
    real_run, real_server = session.run_arm, session.vllm_server

    @contextmanager
    def server(spec: ServerSpec, **options: Any) -> Iterator[Server]:
        with real_server(spec, **options) as started:
            sockets.append(started.socket)
            family.append(_descendants(started.process.pid))
            yield started

    async def run_and_kill(
        client: ChatClient, arm: Arm, benchmark: Benchmark, *, finished: Any, **options: Any
    ) -> list[dict]:
        def killing() -> None:
            if arm.name == "candidate" and len(sockets) == 1 and Path(f"/proc/{family[0][0]}").exists():
                os.kill(family[0][0], signal.SIGKILL)  # vLLM itself; the launcher above it is ours
            finished()

        ran.append(arm.name)
        return await real_run(client, arm, benchmark, finished=killing, **options)

    monkeypatch.setattr(session, "vllm_server", server)
    monkeypatch.setattr(session, "run_arm", run_and_kill)
    renderer = Renderer(base.tokenizer_file, "chatml_hermes")
    found = session.evaluate(
        Benchmark(door_cases[:40], "v1", pack, base.sha256, "g"), session.arms_of("base", "base"),
        ServerSpec(base.folder, find_family("chatml_hermes"), max_model_len=512), renderer, log=tmp_path / "vllm.log", start_seconds=240,
    )  # fmt: skip
    assert ran == ["incumbent", "candidate", "candidate", "incumbent_again"] and len(sockets) == 2
    assert not any(row["infra_error"] for row in found.rows)
    outputs = {
        arm: [row["raw_outputs"] for row in found.rows if row["arm"] == arm] for arm in ("incumbent", "candidate")
    }
    assert len(outputs["candidate"]) == 40 and outputs["candidate"] == outputs["incumbent"], "one model, greedy"
    left = [pid for pids in family for pid in pids if Path(f"/proc/{pid}").exists()]
    assert len(family[0]) >= 2 and not left, "vLLM and its engine's process, of both servers, are gone"


def _descendants(pid: int) -> list[int]:
    """Process ids below a process, its child first."""
    asked = subprocess.run(["pgrep", "-P", str(pid)], check=False, capture_output=True, text=True).stdout
    children = [int(word) for word in asked.split()]
    return [one for child in children for one in (child, *_descendants(child))]


def test_a_real_vllm_that_runs_already_offers_every_proof(door: Pack, door_cases: list[Case], tmp_path: Path):
    """Base against base over HTTP: version, fingerprint, prompts, token ids and log-probabilities are all there, and PEFT agrees."""
    command = [sys.executable, "-m", "flywheel.training.base_model", "tiny-random", str(tmp_path), str(door.folder)]
    subprocess.run(command, check=True, capture_output=True)
    base = find_base_model(tmp_path, "tiny-random")
    renderer, spec = Renderer(base.tokenizer_file, "chatml_hermes"), ServerSpec(base.folder, find_family("chatml_hermes"), max_model_len=512)  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments, log = [*spec.arguments(), "--host", "127.0.0.1", "--port", str(port)], tmp_path / "theirs.log"
    process = start_group(child_command(CHILD, *arguments), environment=serving_environment(2), log=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5, trust_env=False) as client:
            wait_until_healthy(process, client, log, 240, lambda seconds: None)
        attach, to = Attach(url=f"http://127.0.0.1:{port}/v1"), Destination("127.0.0.1", False, ())
        attached = Attached(
            AttachedClient(attach, to, renderer, log=tmp_path / "egress.jsonl"), str(tmp_path), {}, spec
        )
        benchmark = Benchmark(door_cases[:4], "v1", door, generation_sha256="g")
        found = evaluate_attached(benchmark, arms_of("base", "base"), attached, renderer, log=tmp_path / "vllm.log")
    finally:
        stop_group(process)
    assert not any(row["infra_error"] for row in found.rows) and found.prompts_compared
    assert list(found.not_proven) == ["with which arguments it was started, and that nobody else asked it meanwhile"]
    told = [json.loads(text) for text in {row["server"] for row in found.rows}]
    assert len(told) == 1 and told[0]["vllm"].startswith("0.32") and "512 tokens" in told[0]["models"]
