"""A server that refuses a prompt is told apart from one that reads another."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from flywheel.chat import Renderer
from flywheel.errors import FlywheelError
from flywheel.serving.parity import check_prompt_parity
from flywheel.workflows.pack import Pack

HISTORY = [{"role": "user", "content": "Where is A12345?"}]


class Server:
    """Tokenizes as we do, and answers every request with a status and a text."""

    def __init__(self, ours: list[int], status: int) -> None:
        self.ours, self.status = ours, status

    async def tokenize(self, *_: Any) -> list[int]:
        return self.ours

    async def step(self, *_: Any, **__: Any) -> Any:
        request = httpx.Request("POST", "http://vllm/v1/chat/completions")
        said = "This model's maximum context length is 512 tokens."
        httpx.Response(self.status, text=said, request=request).raise_for_status()


def test_a_prompt_that_the_server_refuses_says_its_length_and_what_to_raise(
    renderer_of: Callable[[str], Renderer], pack: Pack
):
    renderer = renderer_of("chatml_hermes")
    ours = renderer.prompt_ids(HISTORY, pack.tools)

    def ask(status: int, fed: bool = True) -> int:
        server: Any = Server(ours, status)
        return asyncio.run(check_prompt_parity(server, renderer, [HISTORY], pack.tools, fed=fed))

    assert ask(400, fed=False) == 1
    with pytest.raises(
        FlywheelError, match=rf"refuses a prompt of {len(ours):,} tokens: This model's maximum"
    ) as caught:
        ask(400)
    assert "raise max_model_len" in (caught.value.remedy or "")
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        ask(503)
