"""An endpoint as an arm: asked over HTTP, waited for, held back where personal data would leave, and logged without content."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel.errors import FlywheelError
from flywheel.privacy.egress import Destination, destination
from flywheel.serving.endpoint import EndpointClient, NotSent
from flywheel.workflows.pack import Egress
from flywheel.workflows.serving_settings import EndpointSettings

HERE = Destination("127.0.0.1", False, ())
ASK: list[dict[str, Any]] = [{"role": "user", "content": "open the red door"}]
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "open_door", "parameters": {"type": "object"}}, "x-access": "write"}
]


class Frontier(ThreadingHTTPServer):
    """Answers each request with the next of `answers`: (status, headers, body as JSON value or text); status 0 breaks the connection."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Answering(BaseHTTPRequestHandler):
    server: Frontier  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers["authorization"], body))
        status, headers, value = self.server.answers.pop(0)
        if not status:  # the connection breaks
            return
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **headers, "content-length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def frontier() -> Iterator[Frontier]:
    server = Frontier()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def said(
    content: str | None = None, calls: list[tuple[str, Any]] | None = None, finish: str | None = "stop"
) -> dict[str, Any]:
    made = [
        {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in calls or []
    ]
    message = {"role": "assistant", "content": content, **({"tool_calls": made} if made else {}), "refusal": None}
    return {
        "choices": [{"message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 7},
    }


def ask(
    frontier: Frontier,
    tmp_path: Path,
    *,
    to: Destination = HERE,
    key: str | None = None,
    waited: list[float] | None = None,
    **settings: Any,
) -> Any:
    async def pause(seconds: float) -> None:
        if waited is not None:
            waited.append(seconds)

    async def work() -> Any:
        endpoint = EndpointSettings(url=frontier.url, model="big", **settings)
        async with EndpointClient(endpoint, to, log=tmp_path / "egress.jsonl", key=key, pause=pause) as client:
            return await client.step("big", ASK, TOOLS, max_tokens=40, call_prefix="call_0", temperature=0, seed=3)

    return asyncio.run(work())


def test_a_step_is_asked_as_ours_are_and_read_back_in_our_form(frontier: Frontier, tmp_path: Path):
    frontier.answers = [(200, {}, said(None, [("open_door", {"door": "red"})], "tool_calls"))]
    step = ask(frontier, tmp_path, key="secret")
    ((path, key, body),) = frontier.asked
    assert path == "/v1/chat/completions" and key == "Bearer secret"
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"], body["tool_choice"]) == (
        "big",
        0,
        3,
        40,
        "auto",
    )
    assert "x-access" not in body["tools"][0]
    assert step.message["tool_calls"] == [
        {"id": "call_0_0", "type": "function", "function": {"name": "open_door", "arguments": '{"door": "red"}'}}
    ]
    assert (step.prompt_ids, step.prompt_tokens, step.completion_tokens, step.finish_reason) == (
        [],
        40,
        7,
        "tool_calls",
    )
    logged = (tmp_path / "egress.jsonl").read_text()
    assert "red door" not in logged and "secret" not in logged and json.loads(logged)["purpose"] == "frontier"


def test_fields_a_server_refuses_are_left_out_and_those_it_wants_are_added(frontier: Frontier, tmp_path: Path):
    frontier.answers = [(200, {}, said("no", finish=None))]
    step = ask(frontier, tmp_path, omit=["seed", "max_tokens"], extra={"max_completion_tokens": 40})
    body = frontier.asked[0][2]
    assert "seed" not in body and "max_tokens" not in body and body["max_completion_tokens"] == 40
    assert step.message == {"role": "assistant", "content": "no"} and step.finish_reason == "stop"


def test_a_busy_server_is_waited_for_and_one_that_stays_busy_is_an_error(frontier: Frontier, tmp_path: Path):
    waited: list[float] = []
    frontier.answers = [(429, {"retry-after": "7"}, {}), (0, {}, {}), (503, {}, {}), (200, {}, said("yes"))]
    assert ask(frontier, tmp_path, waited=waited).message["content"] == "yes" and waited == [7.0, 4.0, 8.0]
    frontier.answers = [(429, {}, {})] * 5
    with pytest.raises(httpx.HTTPStatusError):
        ask(frontier, tmp_path, waited=waited)
    assert len((tmp_path / "egress.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        {"choices": []},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"tool_calls": [{"function": {}}]}}]},
    ],
)
def test_what_is_no_completion_is_an_error_of_the_server(frontier: Frontier, tmp_path: Path, answer: Any):
    frontier.answers = [(200, {}, answer)]
    with pytest.raises(httpx.DecodingError, match="no chat completion"):
        ask(frontier, tmp_path)


def test_personal_data_stays_here_where_the_host_is_elsewhere(frontier: Frontier, tmp_path: Path):
    elsewhere = Destination("api.example.org", True, ("email",))
    ASK.append({"role": "user", "content": "I am ann@corp.org"})
    try:
        with pytest.raises(NotSent, match="it holds email"):
            ask(frontier, tmp_path, to=elsewhere)
    finally:
        ASK.pop()
    assert frontier.asked == []


def test_a_host_elsewhere_has_to_be_listed_for_this_purpose():
    listed = [Egress(host="api.example.org", purpose="teacher")]
    with pytest.raises(FlywheelError, match="the pack does not list it"):
        destination("https://api.example.org/v1", listed, "frontier", where="a test")
    assert destination(
        "https://api.example.org/v1", [Egress(host="api.example.org", purpose="frontier")], "frontier", where="x"
    ).leaves
    assert EndpointSettings(url="https://user:password@api.example.org/v1", model="m").host == "api.example.org"
