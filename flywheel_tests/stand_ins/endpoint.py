"""Stands in for somebody else's OpenAI-compatible server: answers each request as a function says, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Status, content type and body; None keeps the caller waiting.
Raw = tuple[int, str, str]
Answer = Callable[[dict[str, Any]], Raw | None]


class Endpoint(ThreadingHTTPServer):
    """The server: `asked` holds the bearer token and the body of each request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer) -> None:
        self.answer, self.closing = answer, threading.Event()
        self.asked: list[tuple[str | None, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), _Answering)

    @property
    def host(self) -> str:
        """Its name in results."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.host}/v1"


class _Answering(BaseHTTPRequestHandler):
    server: Endpoint  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.headers["authorization"], body))
        found = self.server.answer(body)
        if found is None:
            self.server.closing.wait(60)
            return
        status, kind, text = found
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextmanager
def endpoint(answer: Answer) -> Iterator[Endpoint]:
    """Serve on a free port of this machine until the block ends."""
    server = Endpoint(answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def named(raw: Raw, model: str, **more: Any) -> Raw:
    """A completion that says which model made it."""
    return raw[0], raw[1], json.dumps({**json.loads(raw[2]), "model": model, **more})
