"""A session whose server dies: started again, finished arms kept, half an arm never; and one that keeps dying."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.benchmark.cases import Case
from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation import session
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.evaluation.session import CANDIDATE, INCUMBENT, INCUMBENT_AGAIN, RESTARTS, arms_of, evaluate, forget_arms
from flywheel.serving.shared_server import SharedServer
from flywheel.serving.vllm_server import Server, ServerSpec
from flywheel.workflows.pack import Pack


class Machine:
    """Stands for vLLM: how often it was started, which arms it ran, and in which runs of an arm it dies."""

    def __init__(self, dies_in: dict[str, int]) -> None:
        self.dies_in, self.starts, self.ran = dict(dies_in), 0, []
        self.alive = False

    @contextmanager
    def serve(self, spec: ServerSpec, *, log: Path, start_seconds: float) -> Iterator[Server]:
        self.starts, self.alive = self.starts + 1, True
        process: Any = SimpleNamespace(poll=lambda: None if self.alive else -9, pid=self.starts)
        yield Server(process, log.with_name("none.sock"), log, {"vllm": "0"}, start_seconds)

    async def run_arm(self, client: Any, arm: Arm, benchmark: Benchmark, *, server: dict, finished: Any) -> list[dict]:
        self.ran.append(arm.name)
        if self.dies_in.get(arm.name, 0):
            self.dies_in[arm.name] -= 1
            self.alive = False
        error = None if self.alive else "ConnectError: gone"
        return [
            {"case_id": case.id, "arm": arm.name, "infra_error": error, "server": server} for case in benchmark.cases
        ]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, door: Pack, door_cases: list[Case], renderer: Renderer):
    """Evaluate against a machine; the checks before the arms are left out, they have tests of their own."""

    @contextmanager
    def reference(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(answer=dict)

    async def nothing(*_: Any, **__: Any) -> Any:
        return 0

    async def healthy(_: Any) -> bool:
        return True

    monkeypatch.setattr(session.canary, "reference", reference)
    monkeypatch.setattr(session.canary, "probes", lambda *_: [])
    monkeypatch.setattr(session.canary, "ask_server", nothing)
    monkeypatch.setattr(session.canary, "compare", lambda *_: [])
    monkeypatch.setattr(session, "check_prompt_parity", nothing)
    monkeypatch.setattr(session.ChatClient, "healthy", healthy)

    def work(machine: Machine, generated: str = "g1", shared: SharedServer | None = None, folder: str = ""):
        monkeypatch.setattr(session, "vllm_server", machine.serve)
        monkeypatch.setattr("flywheel.serving.shared_server.vllm_server", machine.serve)
        monkeypatch.setattr(SharedServer, "_healthy", lambda one: one._server is not None and machine.alive)
        monkeypatch.setattr(session, "run_arm", machine.run_arm)
        benchmark = Benchmark(door_cases, "v1", door, generation_sha256=generated)
        spec, log = ServerSpec(tmp_path, renderer.family), tmp_path / folder / "vllm.log"
        return evaluate(benchmark, arms_of("a1", "base"), spec, renderer, log=log, start_seconds=1, shared=shared)

    return work


def test_a_server_that_dies_is_started_again_and_finished_arms_are_kept(run):
    machine = Machine({CANDIDATE: 1})
    rows = run(machine).rows
    assert machine.starts == 2 and machine.ran == [INCUMBENT, CANDIDATE, CANDIDATE, INCUMBENT_AGAIN]
    assert not any(row["infra_error"] for row in rows)
    assert [row["arm"] for row in rows] == sorted((row["arm"] for row in rows), key=machine.ran.index)


def test_one_that_keeps_dying_says_so_and_the_next_run_goes_on(run, tmp_path: Path):
    with pytest.raises(FlywheelError, match=f"ended {RESTARTS + 1} times.*in arm candidate") as told:
        run(Machine({CANDIDATE: 9}))
    assert "vllm-3.log" in str(told.value) and "run the stage again" in str(told.value)
    later = Machine({})
    assert {row["arm"] for row in run(later).rows} == {INCUMBENT, CANDIDATE, INCUMBENT_AGAIN}
    assert later.ran == [CANDIDATE, INCUMBENT_AGAIN], "the incumbent ran to its end before"
    forget_arms(tmp_path / "vllm.log")
    again = Machine({})
    run(again)
    assert again.ran == [INCUMBENT, CANDIDATE, INCUMBENT_AGAIN], "a new evaluation starts anew"


def test_arms_of_another_evaluation_are_not_taken(run):
    with pytest.raises(FlywheelError):
        run(Machine({CANDIDATE: 9}), "g1")
    other = Machine({})
    run(other, "g2")
    assert other.ran == [INCUMBENT, CANDIDATE, INCUMBENT_AGAIN]


def test_two_sessions_on_a_shared_server_are_one_start_and_say_so(run, tmp_path: Path, renderer: Renderer):
    machine = Machine({})
    with SharedServer(["one", "two"], ServerSpec(tmp_path, renderer.family), tmp_path / "shared.log") as shared:
        first, second = (run(machine, name, shared, name) for name in ("one", "two"))
    assert machine.starts == 1 and machine.ran == [INCUMBENT, CANDIDATE, INCUMBENT_AGAIN] * 2
    told = {tuple(sorted(row["server"].items())) for found in (first, second) for row in found.rows}
    assert len(told) == 1 and {"vllm", "shared_by", "session"} == set(dict(told.pop()))
    assert first.shared_by == second.shared_by == "one, two"
    assert (first.server_start_seconds, second.server_start_seconds) == (1, 0)
    assert (tmp_path / "one" / "arms").is_dir() and (tmp_path / "two" / "arms").is_dir(), "each keeps its own"


def test_an_arm_that_an_earlier_start_of_a_shared_server_finished_is_kept_and_says_which(
    run, tmp_path: Path, renderer: Renderer
):
    machine = Machine({CANDIDATE: 1})
    with SharedServer(["one", "two"], ServerSpec(tmp_path, renderer.family), tmp_path / "shared.log") as shared:
        rows = run(machine, "one", shared).rows
        assert machine.starts == shared.starts == 2
    assert machine.ran == [INCUMBENT, CANDIDATE, CANDIDATE, INCUMBENT_AGAIN]
    sessions = {row["arm"]: row["server"]["session"] for row in rows}
    assert sessions[CANDIDATE] == sessions[INCUMBENT_AGAIN] != sessions[INCUMBENT]
    assert not any(row["infra_error"] for row in rows)
