"""Shards: the same results in the same order whoever works, and plain words when a worker fails or is killed."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from flywheel.corrections.workbench.rules import Refusal
from flywheel.errors import FlywheelError, Interrupted
from flywheel.lake.missing import ConcurrentWrite
from flywheel.parallel import IN_THIS_PROCESS, Workers, map_shards, refuse_open_ray
from flywheel.settings import Settings
from flywheel_tests.shard_functions import dies, refuses, squared

TWO = Workers(2)
ON_RAY = Workers(2, "ray")


@pytest.fixture(params=["serial", "spawn", pytest.param("ray", marks=pytest.mark.slow)])
def workers(request: pytest.FixtureRequest) -> Workers:
    if request.param == "ray":
        request.getfixturevalue("ray")
    return Workers(2, request.param)


def test_everyone_gives_the_same_results_in_the_same_order(workers: Workers):
    found = list(map_shards(partial(squared, 7), range(9), workers, what="squaring"))
    assert [value for value, _, _ in found] == [number * number + 7 for number in range(9)]
    elsewhere = {process for _, process, _ in found} - {os.getpid()}
    assert bool(elsewhere) == (workers.executor != "serial")
    assert not elsewhere or {threads for _, _, threads in found} == {"1"}
    assert os.environ.get("POLARS_MAX_THREADS") != "1"  # this process keeps its own


def test_an_error_comes_out_of_a_worker_as_it_was_raised(workers: Workers):
    results = map_shards(refuses, range(40), workers, what="reading")
    assert next(results) == 0
    with pytest.raises(FlywheelError) as raised:
        next(results)
    error = raised.value
    assert type(error) is FlywheelError
    assert (error.what, error.where, error.remedy) == ("the shard is broken", "shard 1", "mend it")
    assert str(error) == str(FlywheelError("the shard is broken", where="shard 1", remedy="mend it"))


@pytest.mark.slow
def test_stopping_early_again_and_again_on_ray_leaves_this_process_alive(ray: None):
    """With tasks cancelled it ended, without a word, within sixty such stops."""
    for _ in range(60):
        results = map_shards(partial(squared, 1), range(40), ON_RAY, what="squaring")
        assert next(results)[0] == 1
        results.close()
    assert [value for value, _, _ in map_shards(partial(squared, 1), range(9), ON_RAY, what="squaring")] == [
        number * number + 1 for number in range(9)
    ]


@pytest.mark.parametrize("workers", [TWO, pytest.param(ON_RAY, marks=pytest.mark.slow)], ids=["spawn", "ray"])
def test_a_killed_worker_is_said_with_what_to_do(workers: Workers, request: pytest.FixtureRequest):
    if workers.executor == "ray":
        request.getfixturevalue("ray")
    with pytest.raises(Interrupted, match="killed while reading") as raised:
        list(map_shards(dies, [1, 1], workers, what="reading"))
    assert "0 of 2 shards" in raised.value.where and "traces.workers" in raised.value.remedy


def test_one_worker_and_one_shard_need_no_process():
    for workers, shards in ((Workers(1, "spawn"), [1, 2]), (TWO, [1])):
        found = map_shards(partial(squared, 0), shards, workers, what="squaring")
        assert {process for _, process, _ in found} == {os.getpid()}
    assert list(map_shards(refuses, [], IN_THIS_PROCESS, what="nothing")) == []


@pytest.mark.parametrize(
    "error",
    [
        FlywheelError("a", where="b", remedy="c"), Interrupted("a", remedy="c"), ConcurrentWrite("promotion_log", "desk", 3),
        Refusal("W19", "why"),
    ],
)  # fmt: skip
def test_every_error_of_the_house_can_be_pickled(error: FlywheelError):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_workers_end_with_a_killed_parent(tmp_path: Path):
    code = (
        "from functools import partial; from pathlib import Path; import sys\n"
        "from flywheel.parallel import Workers, map_shards\n"
        "from flywheel_tests.shard_functions import shows\n"
        "if __name__ == '__main__': list(map_shards(partial(shows, Path(sys.argv[1])), range(2), Workers(2), what='waiting'))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    seen = tmp_path / "seen"
    seen.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(seen)], env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    try:
        _wait(lambda: len(list(seen.iterdir())) == 2, 60)
    finally:
        parent.kill()
        parent.wait()
    _wait(lambda: not any(_lives(int(file.name)) for file in seen.iterdir()), 20)


def _wait(until: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_without_ray_the_error_names_the_package_and_the_way_without(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FlywheelError) as raised:
        list(map_shards(refuses, [0, 0], ON_RAY, what="reading"))
    assert "flywheel-loop[ray]" in raised.value.remedy and "FLYWHEEL_EXECUTOR=spawn" in raised.value.remedy


@pytest.mark.parametrize("address", ["10.0.0.7:6379", "ray://head.example.org:10001", "head:6379"])
def test_a_ray_elsewhere_has_to_ask_who_one_is(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with pytest.raises(FlywheelError, match="neither token authentication nor TLS"):
        refuse_open_ray(address)
    for here in ("", "auto", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"):
        refuse_open_ray(here)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    refuse_open_ray(address)


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_alone_and_reports_to_nobody(ray: None):
    assert list(map_shards(partial(squared, 0), range(2), ON_RAY, what="squaring"))
    ours = {
        os.getpid(),
        *(process for process, command in _commands().items() if "/tmp/ray/session_" in command or "ray::" in command),
    }
    inodes = {name.removeprefix("socket:[").rstrip("]") for process in ours for name in _open_files(process)}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert len(listening) >= 4 and set(listening) <= LOOPBACK, listening
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def _commands() -> dict[int, str]:
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(file.parent.name)] = file.read_text(errors="replace")
    return found


def _open_files(process: int) -> list[str]:
    found = []
    with suppress(OSError):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(link))
    return found


def test_the_installation_says_who_works():
    settings = Settings(executor="ray", ray_address="auto")
    assert settings.workers(4) == Workers(4, "ray", "auto") and Settings().workers(1) == IN_THIS_PROCESS
