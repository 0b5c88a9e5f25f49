"""Any server that speaks OpenAI's chat completions, asked for one assistant step as vLLM is: a frontier model beside ours.

A host elsewhere has to stand in the pack under `egress` with purpose frontier (design.md 8.16); a request in which personal data is
found is not sent, and each send is logged by counts and hash. Such a server gives no token ids, so raw outputs are its JSON. An answer
that names another model than the one asked for is no answer.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from flywheel.chat.render import Message, canonical_tools
from flywheel.privacy.egress import Destination, log_send
from flywheel.serving.client import ModelStep, assistant_message
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.serving_settings import EndpointSettings

PURPOSE = "frontier"
_ATTEMPTS, _LONGEST_WAIT = 5, 60.0
# What an alias stands for: large-1 answers as large-1-2026-01-31, never as large-1-mini.
_VERSION = re.compile(r"(?:[-@:]v?\d[\d.-]*)?")


class NotSent(httpx.HTTPError):
    """A request that had to stay here; for the result a case that could not be run."""


class EndpointClient:
    """Asks one endpoint; an async context manager.

    Args:
        to: the host, as `privacy.egress` allowed it.
        log: the log of sends.
        key: sent as a bearer token where there is one, and nowhere written.
        pause: waits for so many seconds where the server asks for it.

    Attributes:
        answered_as: models that its answers named so far.
        fingerprints: what they called the system behind it.
    """

    def __init__(
        self, endpoint: EndpointSettings, to: Destination, *, log: Path, key: str | None = None, timeout_seconds: float = 300,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._endpoint, self._to, self._log, self._pause = endpoint, to, log, pause
        self.answered_as: set[str] = set()
        self.fingerprints: set[str] = set()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(timeout=timeout_seconds, headers=headers, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    def body(
        self, messages: list[Message], tools: list[dict[str, Any]], *, max_tokens: int, temperature: float, seed: int
    ) -> dict[str, Any]:
        """What is sent for one step."""
        asked: dict[str, Any] = {
            "model": self._endpoint.model, "messages": messages,
            **({"tools": canonical_tools(tools), "tool_choice": "auto"} if tools else {}),
            "temperature": temperature, "top_p": 1, "seed": seed, "max_tokens": max_tokens,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if name not in self._endpoint.omit} | self._endpoint.extra

    async def step(
        self, model: str, messages: list[Message], tools: list[dict[str, Any]], *, max_tokens: int, call_prefix: str = "call",
        temperature: float = 0, seed: int = 0,
    ) -> ModelStep:  # fmt: skip
        """The next assistant message; `model` is the endpoint's. Raises httpx.HTTPError on errors of server or network, and NotSent."""
        body = self.body(messages, tools, max_tokens=max_tokens, temperature=temperature, seed=seed)
        if kinds := self._to.held_back(body):
            raise NotSent(f"not sent: it holds {', '.join(kinds)}")
        started = time.monotonic()
        response = await self._send(body)
        seconds = time.monotonic() - started
        response.raise_for_status()
        try:
            answer = response.json()
            choice = answer["choices"][0]
            self._noted(answer)
            raw, used = canonical_json(choice["message"]), answer.get("usage") or {}
            choice = {"message": _texts(choice["message"]), "finish_reason": choice.get("finish_reason") or "stop"}
            return ModelStep(
                assistant_message(choice, raw, call_prefix), raw, choice["finish_reason"], [], int(used.get("completion_tokens") or 0),
                [], seconds, int(used.get("prompt_tokens") or 0),
            )  # fmt: skip
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kind = response.headers.get("content-type", "unnamed content")
            raise httpx.DecodingError(f"no chat completion but {kind}: {response.text[:200]!r}") from error

    def _noted(self, answer: dict[str, Any]) -> None:
        """Remember who says that it answered; raises httpx.DecodingError where that is not who was asked."""
        named = answer.get("model")
        if isinstance(named, str) and named:
            if named != self._endpoint.answers_as and not is_model(self._endpoint.model, named):
                raise httpx.DecodingError(
                    f"asked for {self._endpoint.model}, and {named[:100]} answered (where that is its name: endpoint.answers_as)"
                )
            self.answered_as.add(named)
        if isinstance(fingerprint := answer.get("system_fingerprint"), str) and fingerprint:
            self.fingerprints.add(fingerprint)

    async def _send(self, body: dict[str, Any]) -> httpx.Response:
        """Post, and try again after a pause: 429 and 503 as the server asks for it, and connections that broke."""
        content, seconds = canonical_json(body).encode(), 0.0
        for attempt in range(1, _ATTEMPTS + 1):
            if attempt > 1:
                await self._pause(min(_LONGEST_WAIT, seconds))
            said, seconds, answer = "no answer", 2.0**attempt, None
            try:
                answer = await self._http.post(
                    f"{self._endpoint.url.rstrip('/')}/chat/completions", content=content, headers={"content-type": "application/json"}
                )  # fmt: skip
                said = str(answer.status_code)
            except httpx.HTTPError as error:
                said = type(error).__name__
                # A question that was too long to answer in time would be so again.
                if isinstance(error, httpx.TimeoutException) or attempt == _ATTEMPTS:
                    raise
            finally:
                log_send(self._log, self._to, purpose=PURPOSE, messages=len(body["messages"]), size=len(content),
                         sha256=sha256_of(body), answer=said)  # fmt: skip
            if answer is not None:
                if answer.status_code not in (429, 503) or attempt == _ATTEMPTS:
                    return answer
                told = answer.headers.get("retry-after", "")
                seconds = float(told) if told.isdecimal() else seconds
        raise AssertionError("unreachable: the last attempt returned or raised")


def is_model(asked: str, named: str) -> bool:
    """Whether an answer's model is the one asked for: the same name, also without its publisher's, or a dated version of it."""
    if named == asked:
        return True
    asked, answered = (name.rpartition("/")[2].casefold().removesuffix("-latest") for name in (asked, named))
    return answered.startswith(asked) and _VERSION.fullmatch(answered[len(asked) :]) is not None


def _texts(message: dict[str, Any]) -> dict[str, Any]:
    """The message with arguments as text: some servers send them as objects."""
    calls = [
        {"function": {"name": str(call["function"]["name"]), "arguments": given if isinstance(given, str) else canonical_json(given)}}
        for call in message.get("tool_calls") or []
        for given in [call["function"]["arguments"]]
    ]  # fmt: skip
    return {"content": message.get("content"), "tool_calls": calls}
