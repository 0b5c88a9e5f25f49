"""One assistant step from a served model over the OpenAI chat completions API."""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from flywheel.chat.render import Message, Renderer, canonical_tools


class ModelStep(NamedTuple):
    """One generated assistant message and what it cost.

    Attributes:
        message: OpenAI assistant message; call ids are made from the step, so equal runs give equal messages.
        raw_output: the generated text, special tokens included.
        finish_reason: stop, tool_calls or length.
        prompt_ids: token ids the server fed the model.
    """

    message: Message
    raw_output: str
    finish_reason: str
    prompt_ids: list[int]
    completion_tokens: int


class ChatClient:
    """Asks one server; an async context manager.

    Args:
        socket: the server's unix socket.
        renderer: decodes the generated ids.
    """

    def __init__(self, socket: Path, renderer: Renderer, *, timeout_seconds: float = 300) -> None:
        self._renderer = renderer
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=64))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

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
        """The next assistant message, greedy unless told, tool choice `auto`; raises httpx.HTTPError on server or network errors."""
        body = {
            "model": model,
            "messages": messages,
            **({"tools": canonical_tools(tools), "tool_choice": "auto"} if tools else {}),
            "temperature": temperature,
            "top_p": 1,
            "seed": seed,
            "max_tokens": max_tokens,
            "return_token_ids": True,
        }
        response = await self._http.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        answer = response.json()
        choice = answer["choices"][0]
        raw = self._renderer.decode(choice["token_ids"])
        return ModelStep(
            message=_assistant_message(choice, raw, call_prefix),
            raw_output=raw,
            finish_reason=choice["finish_reason"],
            prompt_ids=answer["prompt_token_ids"],
            completion_tokens=answer["usage"]["completion_tokens"],
        )

    async def tokenize(self, model: str, messages: list[Message], tools: list[dict[str, Any]]) -> list[int]:
        """Token ids of the prompt the server makes of these messages, without generating anything."""
        body = {"model": model, "messages": messages, "tools": canonical_tools(tools), "add_generation_prompt": True}
        response = await self._http.post("/tokenize", json=body)
        response.raise_for_status()
        return response.json()["tokens"]

    async def log_probabilities(self, model: str, prompt_ids: list[int], target_ids: list[int]) -> list[float]:
        """Natural log-probability of each target token after the prompt; nothing is generated that counts."""
        body = {
            "model": model,
            "prompt": [*prompt_ids, *target_ids],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        response = await self._http.post("/v1/completions", json=body)
        response.raise_for_status()
        found = response.json()["choices"][0]["prompt_logprobs"][len(prompt_ids) :]
        return [entry[str(token)]["logprob"] for entry, token in zip(found, target_ids, strict=True)]


def _assistant_message(choice: dict[str, Any], raw: str, call_prefix: str) -> Message:
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
