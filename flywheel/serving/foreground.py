"""A server that stays: vLLM in the foreground of a command, with exactly the arguments it is given, until somebody stops it.

The group dies with the command, however that ends. It listens on a unix socket or loopback and nowhere else, because vLLM asks
nobody who they are: an API key would guard /v1 alone, not /tokenize or /metrics. Others ask through a proxy with TLS and passwords.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import httpx

from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback
from flywheel.processes import child_command, start_group, stop_group
from flywheel.serving.vllm_server import CHILD, did_not_start, serving_environment, wait_until_healthy

_LOOK_SECONDS = 0.5


class Address(NamedTuple):
    """Where a server listens: a unix socket, else host and port."""

    host: str
    port: int
    uds: Path | None = None

    def arguments(self) -> list[str]:
        """vLLM's arguments for it."""
        return ["--uds", str(self.uds)] if self.uds else ["--host", self.host, "--port", str(self.port)]

    def told(self) -> str:
        """As people and clients read it."""
        return f"unix:{self.uds}" if self.uds else f"http://{self.host}:{self.port}/v1"

    def client(self) -> httpx.Client:
        """A client that asks this address and no proxy."""
        transport = httpx.HTTPTransport(uds=str(self.uds) if self.uds else None)
        asked = f"[{self.host}]" if ":" in self.host else self.host
        return httpx.Client(transport=transport, base_url=f"http://{asked}:{self.port}", timeout=5, trust_env=False)


def check_address(address: Address) -> None:
    """Raise FlywheelError for an address that other machines can reach, and when the port or socket is taken."""
    if address.uds is None and not is_loopback(address.host):
        raise FlywheelError(
            f"{address.host} can be reached from other machines, and vLLM asks nobody who they are", where="--host",
            remedy="leave --host away and put a proxy with TLS and authentication in front of 127.0.0.1, or of a socket: --uds FILE",
        )  # fmt: skip
    _refuse_taken(address)


def _refuse_taken(address: Address) -> None:
    if address.uds:
        if address.uds.exists():
            raise FlywheelError("there is a file of that name already", where=str(address.uds),
                                remedy="stop the server that listens there, or delete it where none does")  # fmt: skip
        return
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise FlywheelError(f"{address.host}:{address.port} cannot be listened on: {error.strerror}", where="--port",
                                remedy=f"stop what uses it, or: --port {address.port + 1}") from None  # fmt: skip


def serve(
    arguments: Sequence[str], address: Address, *, threads: int, log: Path, start_seconds: float, say: Callable[[str], None],
    look: Callable[[], None],
) -> None:  # fmt: skip
    """Serve until SIGINT, SIGTERM or SIGHUP; the whole process group is gone afterwards.

    Args:
        say: prints a line: how far the start is, where it listens.
        look: called every half second while it serves.

    Raises FlywheelError with the log's decisive lines when vLLM does not start, or ends by itself.
    """
    command = child_command(CHILD, *arguments, *address.arguments())
    log.unlink(missing_ok=True)
    os.umask(0o077)  # the socket is for this user alone
    with _stopped_by_signals():
        process = start_group(command, environment=serving_environment(threads), log=log)
        try:
            with address.client() as client:
                seconds = wait_until_healthy(process, client, log, start_seconds, _every(10, say, log))
            say(f"listening on {address.told()} after {seconds:.0f} s (stop with Ctrl-C); log: {log}")
            while process.poll() is None:
                look()
                time.sleep(_LOOK_SECONDS)
            raise did_not_start(f"vLLM ended by itself with exit code {process.returncode}", log)
        except _Stopped:
            say("stopping the server")
        finally:
            stop_group(process)
            if address.uds:
                address.uds.unlink(missing_ok=True)


class _Stopped(BaseException):
    """Somebody asked the command to end."""


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except _Stopped:  # before the process was there
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _every(seconds: float, say: Callable[[str], None], log: Path) -> Callable[[float], None]:
    """Says every so many seconds how long it has been, and what the server logged last."""
    told = 0.0

    def waiting(elapsed: float) -> None:
        nonlocal told
        if elapsed - told >= seconds:
            told = elapsed
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
            last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing logged yet")
            say(f"  starting, {elapsed:.0f} s: {last[-100:]}")

    return waiting
