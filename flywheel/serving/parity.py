"""Does the server read what was trained? Asked before every evaluation; whether it answers so, `canary.py` asks.

What is looked for: prompts that the server renders or tokenises otherwise than the training rows were.
"""

from collections.abc import Sequence
from typing import Any

import httpx

from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError
from flywheel.serving.client import ChatClient, ModelStep
from flywheel.serving.vllm_server import BASE


async def check_prompt_parity(
    client: ChatClient, renderer: Renderer, histories: Sequence[list[Message]], tools: list[dict[str, Any]], *,
    tokenized: bool = True, fed: bool = True,
) -> int:  # fmt: skip
    """Compare the server's prompt ids with ours on each history, as it tokenizes them and as it feeds them to the model.

    Args:
        tokenized, fed: whether the server can be asked the one and the other.

    Returns how many histories were compared; raises FlywheelError at the first difference, and where the server refuses a prompt.
    """
    for history in histories:
        ours = renderer.prompt_ids(history, tools)
        served = await client.tokenize(BASE, history, tools) if tokenized else ours
        if fed and served == ours:
            served = (await _answered(client, history, tools, len(ours))).prompt_ids
        if served != ours:
            first = next(
                (i for i, (a, b) in enumerate(zip(served, ours, strict=False)) if a != b), min(len(served), len(ours))
            )
            raise FlywheelError(
                f"served and trained prompts differ from token {first} on: "
                f"served …{renderer.decode(served[max(0, first - 5) : first + 10])!r}, "
                f"ours …{renderer.decode(ours[max(0, first - 5) : first + 10])!r}",
                where=str(renderer.template_file),
                remedy="evaluation would judge another context than was trained: make template and tools agree",
            )
    return len(histories)


async def _answered(client: ChatClient, history: list[Message], tools: list[dict[str, Any]], tokens: int) -> ModelStep:
    try:
        return await client.step(BASE, history, tools, max_tokens=1)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.BAD_REQUEST:
            raise
        raise FlywheelError(
            f"the server refuses a prompt of {tokens:,} tokens: {error.response.text[:300]}", where="max_model_len in workflow.yaml",
            remedy="where that is its length, raise max_model_len: another model family writes the same tools and messages in more tokens",
        ) from error  # fmt: skip
