"""A teacher for tests: an HTTP server on loopback that answers what it was told to, and keeps what it was asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Teacher(ThreadingHTTPServer):
    """Answers each request with the next of `answers`: an assistant message, or (status, headers, text)."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Answering(BaseHTTPRequestHandler):
    server: Teacher  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["authorization"])
        answer = self.server.answers.pop(0) if self.server.answers else (500, {}, "no more")
        if isinstance(answer, dict):
            finish = answer.pop("finish_reason", "stop")
            answer = (
                200,
                {"content-type": "application/json"},
                json.dumps({"choices": [{"message": answer, "finish_reason": finish}]}),
            )
        status, headers, text = answer
        if status == 0:  # too slow
            threading.Event().wait(0.6)
            return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(text.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        del format, args
