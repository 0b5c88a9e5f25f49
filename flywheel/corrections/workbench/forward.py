"""The current checkpoint goes on from the corrected step: one assistant message from any OpenAI-compatible server.

Only a loopback server may be asked: what is sent is the run itself, and a checkpoint is served in the house.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from flywheel.corrections.proposal import Message
from flywheel.corrections.workbench.rules import Refusal
from flywheel.errors import FlywheelError
from flywheel.privacy.egress import is_loopback
from flywheel.toolcalls.arguments import sha256_of

_SECONDS = 60.0
_FUNCTION_KEYS = ("name", "description", "parameters")


class Model:
    """A served model.

    Args:
        url: base URL, e.g. http://127.0.0.1:8000/v1; loopback only.
        name: model to ask for; the server's first one when empty.
    """

    def __init__(self, url: str, name: str = "", *, max_tokens: int = 512) -> None:
        host = urlsplit(url).hostname or ""
        if not is_loopback(host):
            raise FlywheelError(f"{host or url!r} is not on this machine: the runs would leave the building", where="--model-url",
                                remedy="serve the checkpoint here, e.g. on http://127.0.0.1:8000/v1")  # fmt: skip
        self._url, self._name, self._max_tokens = url.rstrip("/"), name, max_tokens

    def next_step(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Message:
        """The next assistant message, greedy; raises Refusal W14 when the server does not give one."""
        offered = [{"type": "function", "function": {k: v for k, v in tool["function"].items() if k in _FUNCTION_KEYS}} for tool in tools]  # fmt: skip
        try:
            with httpx.Client(timeout=_SECONDS, trust_env=False) as http:
                name = self._name or http.get(f"{self._url}/models").raise_for_status().json()["data"][0]["id"]
                body = {"model": name, "messages": list(messages), "tools": offered, "temperature": 0, "max_tokens": self._max_tokens}  # fmt: skip
                answer = http.post(f"{self._url}/chat/completions", json=body).raise_for_status().json()
            return _message(answer["choices"][0]["message"], len(messages))
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise Refusal("W14", f"{type(error).__name__}: {str(error)[:200]}") from None


def _message(found: dict[str, Any], place: int) -> Message:
    calls = [
        {"id": f"call_{sha256_of(['rolled', place, number])[:9]}", "type": "function",
         "function": {"name": str(call["function"]["name"]), "arguments": str(call["function"]["arguments"])}}
        for number, call in enumerate(found.get("tool_calls") or [])
    ]  # fmt: skip
    content = found.get("content")
    message: Message = {"role": "assistant", "content": str(content) if content else None}
    return {**message, "tool_calls": calls} if calls else {**message, "content": str(content or "")}
