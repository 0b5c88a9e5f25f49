"""A teacher model behind any server that speaks OpenAI's chat completions: one step asked for, or the reason why there is none."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from flywheel.chat.render import canonical_tools
from flywheel.privacy.egress import Destination, log_send
from flywheel.serving.endpoint import is_model
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.schema_check import check_call

Message = dict[str, Any]
PURPOSE = "teacher"
# Of these one may be the server's; several in a row mean that it is down, or no such server.
OF_THE_SERVER = ("timeout", "unreachable", "too_many_requests", "refused", "not_json", "no_message", "other_model")
_ATTEMPTS, _LONGEST_WAIT = 5, 60.0


class NoStep(Exception):
    """There is no usable step: `reason` is counted, `detail` is shown."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Sampling(NamedTuple):
    """How tokens are chosen; recorded with every row."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 512


class Endpoint:
    """One model of one server; a context manager.

    Args:
        url: base URL, as in http://127.0.0.1:8000/v1.
        to: the host, as `privacy.egress` allowed it.
        key: sent as a bearer token where there is one, and nowhere written.
        log: the log of sends.
        pause: waits for so many seconds.
    """

    def __init__(
        self, url: str, model: str, to: Destination, sampling: Sampling, *, log: Path, key: str | None = None, seconds: float = 120,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self.model, self.to, self.sampling = model, to, sampling
        self._url, self._log, self._pause = f"{url.rstrip('/')}/chat/completions", log, pause
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(timeout=seconds, headers=headers, trust_env=False)

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def body(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What is sent for one step."""
        asked = {"model": self.model, "messages": list(messages), **self.sampling._asdict()}
        return {**asked, "tools": canonical_tools(list(tools)), "tool_choice": "auto"} if tools else asked

    def step(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Message:
        """The next assistant message, its calls valid under the tools; raises NoStep with the reason."""
        body = self.body(messages, tools)
        if kinds := self.to.held_back(body):
            raise NoStep("personal_data", f"not sent: it holds {', '.join(kinds)}")
        choice = _choice(self._send(body), self.model)
        if choice.get("finish_reason") == "length":
            raise NoStep("cut_off", f"longer than {self.sampling.max_tokens} tokens")
        message = _message(choice["message"], len(messages))
        for call in message.get("tool_calls") or []:
            name = call["function"]["name"]
            if problems := check_call(list(tools), name, call["function"]["arguments"]):
                raise NoStep("invalid_call", f"{name}: {problems[0].message}")
        return message

    def _send(self, body: dict[str, Any]) -> httpx.Response:
        """Post, and wait where the server asks for it: 429 and 503 are tried again."""
        content = canonical_json(body).encode()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._http.post(self._url, content=content, headers={"content-type": "application/json"})
                said = str(answer.status_code)
            except httpx.TimeoutException:
                answer, said = None, "timeout"
            except httpx.HTTPError as error:
                answer, said = None, f"unreachable: {type(error).__name__}"
            log_send(self._log, self.to, purpose=PURPOSE, messages=len(body["messages"]), size=len(content),
                     sha256=sha256_of(body), answer=said)  # fmt: skip
            if answer is None:
                raise NoStep(said.split(":")[0], said)
            if answer.status_code not in (429, 503):
                break
            if attempt == _ATTEMPTS:
                raise NoStep("too_many_requests", f"HTTP {answer.status_code} {_ATTEMPTS} times")
            self._pause(min(_LONGEST_WAIT, _asked_wait(answer, 2.0**attempt)))
        if answer.status_code != httpx.codes.OK:
            raise NoStep("refused", f"HTTP {answer.status_code}: {answer.text[:200]}")
        return answer


def _asked_wait(answer: httpx.Response, otherwise: float) -> float:
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else otherwise


def _choice(answer: httpx.Response, asked: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "no content type")
        raise NoStep("not_json", f"{kind}: {answer.text[:80]!r}") from None
    try:
        choice = found["choices"][0]
        if not isinstance(choice["message"], dict):
            raise TypeError
    except (KeyError, IndexError, TypeError):
        raise NoStep("no_message", f"the answer holds no choices[0].message: {str(found)[:80]}") from None
    # What it shows is kept under the name asked for.
    named = found.get("model")
    if isinstance(named, str) and named and not is_model(asked, named):
        said = named[:100]
        raise NoStep(
            "other_model", f"asked for {asked}, and {said} answered (where that is the one meant: --model {said})"
        )
    return choice


def _message(found: dict[str, Any], place: int) -> Message:
    """The message with what OpenAI's format has, and ids of our own: a server may give none, or the same ones twice."""
    try:
        calls = [
            {"id": f"call_{place}_{number}", "type": "function",
             "function": {"name": str(call["function"]["name"]), "arguments": str(call["function"]["arguments"])}}
            for number, call in enumerate(found.get("tool_calls") or [])
        ]  # fmt: skip
    except (KeyError, TypeError):
        raise NoStep("no_message", "a tool call without function.name and arguments") from None
    content = found.get("content")
    if not calls and not (isinstance(content, str) and content.strip()):
        raise NoStep("no_message", "it neither says nor calls anything")
    return (
        {"role": "assistant", "content": content, "tool_calls": calls}
        if calls
        else {"role": "assistant", "content": content}
    )
