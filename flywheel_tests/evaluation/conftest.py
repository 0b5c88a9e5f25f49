"""The door pack with its frozen cases, and a way to run an arm against a server that a test makes up."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flywheel.benchmark.cases import Case, load_cases
from flywheel.chat import Renderer
from flywheel.evaluation.runner import Arm, Benchmark, run_arm
from flywheel.serving.client import ChatClient
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.evaluation.fake_server import Body, Raw, serving
from flywheel_tests.packs import door_simulation

RunArm = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def door() -> Pack:
    return load_pack(door_simulation.FOLDER)


@pytest.fixture(scope="session")
def door_cases(door: Pack) -> list[Case]:
    return load_cases(door.folder / "benchmark", door.tools)


@pytest.fixture
def run(door: Pack, door_cases: list[Case], renderer: Renderer) -> RunArm:
    """Rows of one arm: `answer` is the server; keywords change the benchmark."""

    def rows(answer: Callable[[Body], Raw | None], *, arm: Arm | None = None, pack: Pack = door, cases: list[Case] = door_cases,
             timeout_seconds: float = 30, longest: int | None = None, **changes: Any) -> list[dict[str, Any]]:  # fmt: skip
        async def work() -> list[dict[str, Any]]:
            # Not pytest's folder: a socket's path may not be longer than 107 bytes.
            with tempfile.TemporaryDirectory() as folder:
                socket = Path(folder) / "s"
                async with (
                    serving(socket, answer),
                    ChatClient(socket, renderer, timeout_seconds=timeout_seconds) as client,
                ):
                    client.longest = longest
                    benchmark = Benchmark(cases, "v1", pack, **changes)
                    side = arm or Arm("candidate", "a1", "a1")
                    return await run_arm(client, side, benchmark, server={"vllm": "0"}, finished=lambda: None)

        return asyncio.run(work())

    return rows
