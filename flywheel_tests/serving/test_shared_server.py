"""One server for several workflows: started once, told apart by session, restarted when it died, never beside another."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flywheel.chat.families import FAMILIES
from flywheel.serving import shared_server as module
from flywheel.serving.shared_server import SharedServer, covers, offered, shared_server
from flywheel.serving.together import together
from flywheel.serving.vllm_server import Server, ServerSpec

ONE = ServerSpec(Path("/m/base-1"), FAMILIES["chatml_hermes"], {"adapter-a": Path("/a")}, 1024, 8, 16)
TWO = ServerSpec(Path("/m/base-1"), FAMILIES["chatml_hermes"], {"adapter-b": Path("/b")}, 4096, 4, 32)
BOTH = together({"one": ONE, "two": TWO})


class Machine:
    """Stands for vLLM: what was started with which log, and how many ran at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[ServerSpec, Path]] = []
        self.running = self.most = 0
        self.well = True
        monkeypatch.setattr(module, "vllm_server", self.serve)
        monkeypatch.setattr(SharedServer, "_healthy", lambda shared: shared._server is not None and self.well)

    @contextmanager
    def serve(self, spec: ServerSpec, *, log: Path, start_seconds: float) -> Iterator[Server]:
        self.started.append((spec, log))
        self.running += 1
        self.most, self.well = max(self.most, self.running), True
        process: Any = SimpleNamespace(pid=100 + len(self.started))
        try:
            yield Server(process, log.with_name("sock"), log, {"vllm": "0"}, 12.0)
        finally:
            self.running -= 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def ask(shared: SharedServer, spec: ServerSpec, tmp_path: Path) -> Server:
    with shared.serve(spec, log=tmp_path / "own.log", start_seconds=1) as server:
        return server


def test_nothing_is_started_until_somebody_asks_and_then_once_for_all(machine: Machine, tmp_path: Path):
    log = tmp_path / "shared.log"
    with SharedServer(["one", "two"], BOTH, log) as shared:
        assert not machine.started
        first, second = ask(shared, ONE, tmp_path), ask(shared, TWO, tmp_path)
        assert machine.started == [(BOTH, log)] and machine.running == 1
        assert first.shared == second.shared and first.shared["shared_by"] == "one, two"
        assert "pid 101 of" in first.shared["session"] and first.description == {"vllm": "0"}
        assert (first.start_seconds, second.start_seconds) == (12, 0), "a start is counted once"
    assert machine.running == 0


def test_one_that_died_is_started_again_as_another_session_with_a_log_of_its_own(machine: Machine, tmp_path: Path):
    with SharedServer(["one", "two"], BOTH, tmp_path / "shared.log") as shared:
        first = ask(shared, ONE, tmp_path)
        machine.well = False
        second = ask(shared, ONE, tmp_path)
        assert [log.name for _, log in machine.started] == ["shared.log", "shared-2.log"] and machine.most == 1
        assert first.shared["session"] != second.shared["session"] and first.description == second.description
        assert shared.starts == 2 and second.start_seconds == 12


def test_a_workflow_that_it_does_not_serve_gets_its_own_and_never_beside_it(machine: Machine, tmp_path: Path):
    other = replace(ONE, model=Path("/m/base-2"))
    with SharedServer(["one", "two"], BOTH, tmp_path / "shared.log") as shared:
        ask(shared, ONE, tmp_path)
        assert ask(shared, other, tmp_path).shared == {}
        ask(shared, TWO, tmp_path)
    assert [spec for spec, _ in machine.started] == [BOTH, other, BOTH] and machine.most == 1 and machine.running == 0


def test_an_error_in_a_session_ends_it(machine: Machine, tmp_path: Path):
    with SharedServer(["one", "two"], BOTH, tmp_path / "shared.log") as shared:
        with pytest.raises(ValueError, match="canary"), shared.serve(ONE, log=tmp_path / "o", start_seconds=1):
            raise ValueError("canary")
        assert machine.running == 0
        ask(shared, TWO, tmp_path)
        assert shared.starts == 2


@pytest.mark.parametrize(
    "change",
    [
        {"model": Path("/m/base-2")},
        {"family": FAMILIES["mistral"]},
        {"template": Path("/t")},
        {"quantization": "fp8"},
        {"constrained": True},
        {"python": Path("/p")},
        {"threads": 1},
        {"adapters": {"adapter-c": Path("/c")}},
        {"adapters": {"adapter-a": Path("/elsewhere")}},
        {"max_model_len": 8192},
        {"max_num_seqs": 64},
        {"max_lora_rank": 64},
    ],
)
def test_what_it_would_answer_otherwise_is_not_asked_of_it(change: dict[str, Any]):
    assert covers(BOTH, ONE) and covers(BOTH, TWO) and covers(BOTH, replace(ONE, adapters={}, max_lora_rank=64))
    assert not covers(BOTH, replace(ONE, **change))


def test_it_is_offered_to_this_block_alone(machine: Machine, tmp_path: Path):
    assert shared_server() is None
    with offered(SharedServer(["one"], ONE, tmp_path / "shared.log")) as shared:
        assert shared_server() is shared
        ask(shared, ONE, tmp_path)
        assert machine.running == 1
    assert shared_server() is None and machine.running == 0
