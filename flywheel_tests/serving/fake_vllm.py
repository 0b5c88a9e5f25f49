"""A vLLM that somebody else runs, as far as its HTTP goes: the stand-in model behind the endpoints of vLLM 0.32, each of which can be missing."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flywheel.chat.render import Renderer
from flywheel_tests.stand_ins.model import BASE, log_probabilities, next_message


class FakeVllm:
    """The server; `models` are served names -> where their weights are from.

    Attributes:
        lacks: of version, fingerprint, tokenize, token_ids, log_probabilities, load: what it does not offer.
        key: bearer token it asks for.
        asked: (path, body) of every request, in order; before: called with both before it answers.
    """

    def __init__(self, renderer: Renderer, *adapters: str, base: str = BASE, lacks: tuple[str, ...] = ()) -> None:
        self.renderer, self.base, self.lacks = renderer, base, set(lacks)
        self.models = {base: "/models/tiny", **{name: f"/adapters/{name}" for name in adapters}}
        self.version, self.longest, self.key = "0.32.0", 512, ""
        self.spoil_tokens, self.no_op, self.shift = False, False, 0.0
        self.asked: list[tuple[str, Any]] = []
        self.before: Any = lambda path, body: None

    def application(self) -> Starlette:
        """As an ASGI application."""
        paths = {"/version": "GET", "/v1/models": "GET", "/tokenize": "POST", "/v1/chat/completions": "POST", "/v1/completions": "POST",
                 "/v1/load_lora_adapter": "POST", "/v1/unload_lora_adapter": "POST"}  # fmt: skip
        return Starlette(routes=[Route(path, self._answer, methods=[method]) for path, method in paths.items()])

    def transport(self) -> httpx.ASGITransport:
        """For a client that needs no network."""
        return httpx.ASGITransport(self.application())

    async def _answer(self, request: Request) -> Response:
        path, content = request.url.path, await request.body()
        body = json.loads(content) if content else {}
        self.before(path, body)
        self.asked.append((path, body))
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        return getattr(self, f"_{path.rsplit('/', 1)[1] if 'chat' not in path else 'chat'}")(body)

    def _version(self, body: Any) -> Response:
        return _missing() if "version" in self.lacks else JSONResponse({"version": self.version})

    def _models(self, body: Any) -> Response:
        data = [{"id": name, "root": root, "parent": None if name == self.base else self.base,
                 "max_model_len": self.longest if name == self.base else None} for name, root in self.models.items()]  # fmt: skip
        return JSONResponse({"object": "list", "data": data})

    def _tokenize(self, body: Any) -> Response:
        ids = self.renderer.prompt_ids(body["messages"], body["tools"])
        return (
            _missing() if "tokenize" in self.lacks else JSONResponse({"tokens": ids[:-1] if self.spoil_tokens else ids})
        )

    def _chat(self, body: Any) -> Response:
        if body["model"] not in self.models:
            return JSONResponse({"error": f"The model `{body['model']}` does not exist."}, 404)
        messages, tools = body["messages"], body.get("tools") or []
        message = next_message(self._known(body["model"]), messages)
        ids = self.renderer.step(messages, message, tools).target_ids
        cut = len(ids) > body["max_tokens"]
        choice = {
            "message": message,
            "finish_reason": "length" if cut else "tool_calls" if message.get("tool_calls") else "stop",
        }
        answer = {"choices": [choice], "usage": {"completion_tokens": len(ids), "prompt_tokens": 7}}
        if "token_ids" not in self.lacks and body.get("return_token_ids"):
            choice["token_ids"], answer["prompt_token_ids"] = (
                ids[: body["max_tokens"]],
                self.renderer.prompt_ids(messages, tools),
            )
        return JSONResponse(answer | ({} if "fingerprint" in self.lacks else {"system_fingerprint": "vllm-1"}))

    def _completions(self, body: Any) -> Response:
        if "log_probabilities" in self.lacks:
            return JSONResponse({"error": "prompt_logprobs is not allowed"}, 400)
        served, ids = self._known(body["model"]), body["prompt"]
        nats = [value + self.shift for value in log_probabilities(BASE if self.no_op else served, ids)]
        told = [None, *({str(token): {"logprob": value}} for token, value in zip(ids[1:], nats[1:], strict=True))]
        return JSONResponse({"choices": [{"prompt_logprobs": told}]})

    def _load_lora_adapter(self, body: Any) -> Response:
        if "load" in self.lacks:
            return _missing()
        self.models[body["lora_name"]] = body["lora_path"]
        return Response("Success: LoRA adapter added successfully.")

    def _unload_lora_adapter(self, body: Any) -> Response:
        return Response("Success") if self.models.pop(body["lora_name"], None) else JSONResponse({}, 404)

    def _known(self, model: str) -> str:
        return BASE if model == self.base else model


def _missing() -> Response:
    return JSONResponse({"detail": "Not Found"}, 404)


@contextmanager
def on_loopback(server: FakeVllm) -> Iterator[str]:
    """Serve on a free port of this machine until the block ends; gives the base URL."""
    running = uvicorn.Server(uvicorn.Config(server.application(), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not running.started:
            assert time.monotonic() < deadline, "the fake did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        running.should_exit = True
        thread.join(timeout=30)
