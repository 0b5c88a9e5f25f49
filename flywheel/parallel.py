"""Shards: one plain function over many of them, in this process, in a pool of processes or on Ray; same results, same order.

What goes here: who works, what becomes of a worker that fails or is killed, and how far they are. What a shard is, and the one
commit at the end, are the stage's affair. The function is one that a fresh process can import by its name (or a `partial` of one); all
that decides its result is in the shard, and it may run twice over one shard: Ray tries lost work again, so its files have names that follow
from the shard.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from flywheel.errors import FlywheelError, Interrupted
from flywheel.processes import die_with_parent
from flywheel.progress import report_progress

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Executor = Literal["serial", "spawn", "ray"]

SECONDS_BETWEEN_REPORTS = 1.0
# As many workers as cores: polars, which takes all cores by default, gets one in each. It is read once, when polars is imported.
ONE_THREAD = {"POLARS_MAX_THREADS": "1"}


class Workers(NamedTuple):
    """Who works on shards.

    Attributes:
        count: how many at once; one works in this process, whatever the executor. A Ray that runs already has its own number.
        executor: `serial` in this process, `spawn` in fresh processes of this machine, `ray` as Ray tasks.
        ray_address: HOST:PORT of a Ray that runs, or auto; empty starts one here that ends with this process.
    """

    count: int = 1
    executor: Executor = "spawn"
    ray_address: str = ""


IN_THIS_PROCESS = Workers()


def map_shards(
    function: Callable[[Shard], Result],
    shards: Sequence[Shard],
    workers: Workers = IN_THIS_PROCESS,
    *,
    what: str,
    name: Callable[[Shard], str] = str,
) -> Iterator[Result]:
    """The function's result for every shard, in their order, each as soon as it and those before it are there.

    Args:
        what: the work in a few words, for progress and errors.
        name: a shard in a word, for progress.

    Raises what the function raised for the first shard that failed, as it was raised; Interrupted when a worker was killed;
    FlywheelError when Ray is not there. What had not begun then is not begun any more.
    """
    alone = workers.executor == "serial" or workers.count == 1 or len(shards) < 2
    run = _IN[workers.executor] if not alone else _here
    said = time.monotonic()
    with closing(run(function, shards, workers, what)) as results:
        for number, (shard, result) in enumerate(zip(shards, results, strict=True), 1):
            now = time.monotonic()
            if len(shards) > 1 and now - said >= SECONDS_BETWEEN_REPORTS:
                report_progress(what, name(shard), number, len(shards))
                said = now
            yield result


def _here(
    function: Callable[[Any], Result], shards: Sequence[Any], workers: Workers, what: str
) -> Generator[Result, None, None]:
    for shard in shards:
        yield function(shard)


def _in_pool(
    function: Callable[[Any], Result], shards: Sequence[Any], workers: Workers, what: str
) -> Generator[Result, None, None]:
    context = multiprocessing.get_context("spawn")  # a fork would inherit the locked threads of polars and deltalake
    pool = ProcessPoolExecutor(min(workers.count, len(shards)), context, initializer=_begin)
    done = 0
    try:
        with _environment(ONE_THREAD):  # processes are started as work is submitted
            jobs = [pool.submit(function, shard) for shard in shards]
        for done, job in enumerate(jobs):  # noqa: B007
            yield job.result()
    except BrokenProcessPool as error:
        raise _killed(what, done, len(shards)) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker ends with the process that waits for it, and leaves Ctrl-C to that process."""
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it ended before it could be asked for
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _on_ray(
    function: Callable[[Any], Result], shards: Sequence[Any], workers: Workers, what: str
) -> Generator[Result, None, None]:
    ray = _connected(workers)
    # A task takes one CPU; what was lost with a worker or its machine is tried again three times by Ray itself.
    task = ray.remote(_apply).options(runtime_env={"env_vars": ONE_THREAD})
    waiting, done = iter(shards), 0
    ahead = 2 * max(workers.count, int(ray.cluster_resources().get("CPU", 1)))
    jobs = deque(task.remote(function, shard) for shard in islice(waiting, ahead))
    try:
        while jobs:
            result = ray.get(jobs[0])
            jobs.popleft()
            jobs += [task.remote(function, shard) for shard in islice(waiting, 1)]
            yield result
            done += 1
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise _killed(what, done, len(shards)) from error
    finally:
        # Who stops early waits for the few that run, as of a pool. To cancel them is not safe: where a task ends in that very moment, Ray
        # 2.60 fails a check of its own (task_manager.cc, CompletePendingTask) and ends this process without a word.
        if jobs:
            ray.wait(list(jobs), num_returns=len(jobs))


def _apply(function: Callable[[Any], Result], shard: Any) -> Result:
    return function(shard)


def _connected(workers: Workers) -> Any:
    """The `ray` module, connected to the Ray that runs, or to one started here on loopback."""
    refuse_open_ray(workers.ray_address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its usage to its makers otherwise
    if not workers.ray_address:
        # A Ray that is no cluster: all its parts listen on loopback, as they do elsewhere than on Linux. Read when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # and only whoever has this account's token may ask them
    try:
        import ray
    except ImportError:
        raise FlywheelError("shards are to be worked on by Ray, which is not installed", where=f"FLYWHEEL_EXECUTOR=ray, {sys.executable}",
                            remedy="pip install 'flywheel-loop[ray]', or set FLYWHEEL_EXECUTOR=spawn") from None  # fmt: skip
    if ray.is_initialized():
        return ray
    try:
        if workers.ray_address:
            ray.init(address=workers.ray_address, log_to_driver=False)
        else:
            ray.init("local", num_cpus=workers.count, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # Ray raises this very class for a start that took too long
        raise FlywheelError(f"no Ray can be reached: {error}", where=workers.ray_address or "a Ray of this machine's own",
                            remedy="`ray status` there says whether it runs; FLYWHEEL_RAY_ADDRESS names it as HOST:PORT, empty starts one here, "
                            "FLYWHEEL_EXECUTOR=spawn works without") from error  # fmt: skip
    return ray


def refuse_open_ray(address: str) -> None:
    """Raise FlywheelError for a Ray on another machine that asks nobody who they are: whoever reaches its ports can run code on it."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    near = host in ("", "auto", "local", "localhost", "::1") or host.startswith("127.")
    if not near and os.environ.get("RAY_AUTH_MODE") != "token" and os.environ.get("RAY_USE_TLS") != "1":
        raise FlywheelError("a Ray on another machine has neither token authentication nor TLS", where=address,
                            remedy="set up one of them there and here: RAY_AUTH_MODE=token or RAY_USE_TLS=1 (docs/scale-out.md)")  # fmt: skip


def _killed(what: str, done: int, total: int) -> Interrupted:
    return Interrupted(
        f"a worker was killed while {what}",
        where=f"{done} of {total} shards were done",
        remedy="run the stage again, nothing half-written is kept; if it comes back, memory ran out (the kernel's log says so): "
        "fewer `traces.workers` in workflow.yaml hold less at once",
    )


_IN: dict[str, Callable[..., Generator[Any, None, None]]] = {"spawn": _in_pool, "ray": _on_ray, "serial": _here}
