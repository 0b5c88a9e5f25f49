"""One vLLM that several workflows on one base are evaluated on, one after the other: started when the first of them asks.

A workflow gets it where it serves all that a server of the workflow's own would; else one of its own, and the shared one is stopped
before, so that two are never in memory together. Whoever runs the stages offers it (`offered`); a stage takes what is offered.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from flywheel.serving.vllm_server import Server, ServerSpec, vllm_server


def covers(shared: ServerSpec, spec: ServerSpec) -> bool:
    """Whether a server of `shared` answers as one of `spec` would: same but for what only limits, and limits no smaller."""
    limits_of_shared = replace(
        spec, adapters=shared.adapters, max_model_len=shared.max_model_len, max_num_seqs=shared.max_num_seqs,
        max_lora_rank=shared.max_lora_rank,
    )  # fmt: skip
    return (
        limits_of_shared == shared
        and spec.adapters.items() <= shared.adapters.items()
        and spec.max_model_len <= shared.max_model_len
        and spec.max_num_seqs <= shared.max_num_seqs
        and (not spec.adapters or spec.max_lora_rank <= shared.max_lora_rank)
    )


class SharedServer:
    """A context manager: the server of several workflows, gone when the block ends.

    Args:
        workflows: who shares it.
        spec: what all of them need, joined.
        log: of the server; each later start has a file of its own beside it.

    Attributes:
        starts: how often it was started.
    """

    def __init__(self, workflows: Sequence[str], spec: ServerSpec, log: Path) -> None:
        self.workflows, self.spec, self.starts = tuple(workflows), spec, 0
        self._log, self._running = log, ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, if it runs; whoever asks next starts it again."""
        self._server = None
        self._running.close()

    @contextmanager
    def serve(self, spec: ServerSpec, *, log: Path, start_seconds: float) -> Iterator[Server]:
        """A server that serves `spec` until the block ends: this one where it does, else one of its own; called as `vllm_server` is.

        It goes on for the next workflow, unless an error ended the block. The start is counted for the one who waited for it.
        """
        if not covers(self.spec, spec):
            self.stop()
            with vllm_server(spec, log=log, start_seconds=start_seconds) as own:
                yield own
            return
        waited = not self._healthy()
        server = self._start(start_seconds) if waited or self._server is None else self._server
        try:
            yield server if waited else replace(server, start_seconds=0.0)
        except BaseException:
            self.stop()
            raise

    def _start(self, start_seconds: float) -> Server:
        self.stop()
        self.starts += 1
        log = self._log if self.starts == 1 else self._log.with_stem(f"{self._log.stem}-{self.starts}")
        server = self._running.enter_context(vllm_server(self.spec, log=log, start_seconds=start_seconds))
        said = {
            "shared_by": ", ".join(self.workflows),
            "session": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} pid {server.process.pid} of {os.getpid()}",
        }
        self._server = replace(server, shared=said)
        return self._server

    def _healthy(self) -> bool:
        """Whether it runs and says that it is well."""
        if self._server is None or self._server.process.poll() is not None:
            return False
        transport = httpx.HTTPTransport(uds=str(self._server.socket))
        try:
            with httpx.Client(transport=transport, base_url="http://vllm", timeout=5) as client:
                return client.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


_OFFERED: ContextVar[SharedServer | None] = ContextVar("shared_server", default=None)


@contextmanager
def offered(shared: SharedServer) -> Iterator[SharedServer]:
    """Offer a server to the stages that run in this block, in this process; it ends with the block."""
    before = _OFFERED.set(shared)
    try:
        with shared:
            yield shared
    finally:
        _OFFERED.reset(before)


def shared_server() -> SharedServer | None:
    """The server that is offered here; None where everybody starts one of their own."""
    return _OFFERED.get()
