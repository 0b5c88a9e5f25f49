"""One assistant step from a served model over the OpenAI chat completions API."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Protocol, Self

import httpx

from flywheel.chat.render import Message, Renderer, canonical_tools
from flywheel.toolcalls.arguments import canonical_json


class ModelStep(NamedTuple):
    """One generated assistant message and what it cost.

    Attributes:
        message: OpenAI assistant message; call ids are made from the step, so equal runs give equal messages.
        raw_output: the generated text, special tokens included.
        finish_reason: stop, tool_calls or length.
        prompt_ids: token ids the server fed the model.
        completion_tokens: how many it generated.
        completion_ids: their token ids.
        seconds: wall seconds from the request to its whole answer.
        prompt_tokens: how long the prompt was, where the server gives no ids.
    """

    message: Message
    raw_output: str
    finish_reason: str
    prompt_ids: list[int]
    completion_tokens: int
    completion_ids: list[int]
    seconds: float
    prompt_tokens: int | None = None


class StepClient(Protocol):
    """Whoever can be asked for one assistant step: a server of ours, or an endpoint."""

    async def step(
        self, model: str, messages: list[Message], tools: list[dict[str, Any]], *, max_tokens: int, call_prefix: str = "call",
        temperature: float = 0, seed: int = 0,
    ) -> ModelStep:  # fmt: skip
        """The next assistant message; raises httpx.HTTPError on errors of server or network."""
        ...


class ChatClient:
    """Asks one server; an async context manager.

    Args:
        server: its unix socket, or how else it is asked.
        renderer: decodes the generated ids.
        names: names we know -> the server's own, where they differ.

    Attributes:
        token_ids: whether it is asked for the token ids of prompts and answers, as vLLM gives them; without, steps have none.
        sampling: further sampling parameters of every step; none where the server was started without defaults of its own.
        longest: prompt plus answer, in tokens, where the server would take more than this workflow's own; None where it would not.
    """

    def __init__(
        self, server: Path | httpx.AsyncClient, renderer: Renderer, *, timeout_seconds: float = 300,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._renderer, self._names, self.token_ids = renderer, names, True
        self.sampling: Mapping[str, float] = {}
        self.longest: int | None = None
        if isinstance(server, httpx.AsyncClient):
            self._http = server
            return
        # The server closes what was idle for 5 s: given up before, no request meets a connection that is just being closed.
        limits = httpx.Limits(max_connections=64, keepalive_expiry=2)
        transport = httpx.AsyncHTTPTransport(uds=str(server), limits=limits)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    def name_there(self, model: str) -> str:
        """How the server calls a model."""
        return self._names.get(model, model)

    async def step(
        self,
        model: str,
        messages: list[Message],
        tools: list[dict[str, Any]],
        *,
        max_tokens: int,
        call_prefix: str = "call",
        temperature: float = 0,
        seed: int = 0,
    ) -> ModelStep:
        """The next assistant message, greedy unless told, tool choice `auto`.

        Raises httpx.HTTPError on server or network errors; an answer that is no chat completion (a proxy's HTML page, broken
        JSON) is one: httpx.DecodingError.
        """
        if self.longest is not None:
            max_tokens = min(max_tokens, self._room(self.longest, messages, tools))
        body = {
            "model": self.name_there(model),
            "messages": messages,
            **({"tools": canonical_tools(tools), "tool_choice": "auto"} if tools else {}),
            "temperature": temperature,
            "top_p": 1,
            "seed": seed,
            "max_tokens": max_tokens,
            **self.sampling,
            **({"return_token_ids": True} if self.token_ids else {}),
        }
        started = time.monotonic()
        response = await self._http.post("/v1/chat/completions", json=body)
        seconds = time.monotonic() - started
        response.raise_for_status()
        try:
            answer = response.json()
            self._check_model(answer, body["model"])
            return self._step(answer, call_prefix, seconds)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kind = response.headers.get("content-type", "unnamed content")
            raise httpx.DecodingError(f"no chat completion but {kind}: {response.text[:200]!r}") from error

    def _room(self, longest: int, messages: list[Message], tools: list[dict[str, Any]]) -> int:
        """Tokens left for an answer; raises the error that vLLM answers with when it was started for `longest` and the prompt is longer."""
        prompt = len(self._renderer.prompt_ids(messages, tools))
        if prompt <= longest:
            return longest - prompt
        said = f"This model's maximum context length is {longest} tokens. However, your prompt contains {prompt} input tokens."
        request = self._http.build_request("POST", "/v1/chat/completions")
        answer = httpx.Response(httpx.codes.BAD_REQUEST, text=said, request=request)
        raise httpx.HTTPStatusError(said, request=request, response=answer)

    def _check_model(self, answer: Any, asked: str) -> None:
        """Raise httpx.DecodingError where another model answered; a server of ours is known by how it was started."""

    def _step(self, answer: Any, call_prefix: str, seconds: float) -> ModelStep:
        choice = answer["choices"][0]
        if not self.token_ids:
            used, raw = answer["usage"], canonical_json(choice["message"])
            message = assistant_message(choice, raw, call_prefix)
            return ModelStep(message, raw, choice["finish_reason"], [], used["completion_tokens"], [], seconds, used["prompt_tokens"])  # fmt: skip
        raw = self._renderer.decode(choice["token_ids"])
        return ModelStep(
            message=assistant_message(choice, raw, call_prefix),
            raw_output=raw,
            finish_reason=choice["finish_reason"],
            prompt_ids=answer["prompt_token_ids"],
            completion_tokens=answer["usage"]["completion_tokens"],
            completion_ids=choice["token_ids"],
            seconds=seconds,
        )

    async def tokenize(self, model: str, messages: list[Message], tools: list[dict[str, Any]]) -> list[int]:
        """Token ids of the prompt the server makes of these messages, without generating anything."""
        body = {
            "model": self.name_there(model),
            "messages": messages,
            "tools": canonical_tools(tools),
            "add_generation_prompt": True,
        }
        response = await self._http.post("/tokenize", json=body)
        response.raise_for_status()
        return response.json()["tokens"]

    async def healthy(self) -> bool:
        """Whether the server says that it can answer; False when it says nothing within five seconds."""
        try:
            return (await self._http.get("/health", timeout=5)).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def log_probabilities(self, model: str, prompt_ids: list[int], target_ids: list[int]) -> list[float]:
        """Natural log-probability of each target token after the prompt; nothing is generated that counts."""
        body = {
            "model": self.name_there(model),
            "prompt": [*prompt_ids, *target_ids],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        response = await self._http.post("/v1/completions", json=body)
        response.raise_for_status()
        found = response.json()["choices"][0]["prompt_logprobs"][len(prompt_ids) :]
        return [entry[str(token)]["logprob"] for entry, token in zip(found, target_ids, strict=True)]


def assistant_message(choice: dict[str, Any], raw: str, call_prefix: str) -> Message:
    """The message of a completion's choice, with call ids of our own; `raw` stands for an answer that was cut off in a call."""
    message = choice["message"]
    calls = message.get("tool_calls") or []
    if calls and choice["finish_reason"] == "length":
        # vLLM's hermes parser takes an unclosed call for a call; a cut-off answer is not one.
        return {"role": "assistant", "content": raw}
    if not calls:
        return {"role": "assistant", "content": message.get("content") or ""}
    numbered = [
        {"id": f"{call_prefix}_{number}", "type": "function",
         "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}
        for number, call in enumerate(calls)
    ]  # fmt: skip
    return {"role": "assistant", "content": message.get("content"), "tool_calls": numbered}
