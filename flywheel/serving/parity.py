"""Is the served model the trained one? Asked of the running server before every evaluation.

Two silent failures are looked for: prompts that are tokenised otherwise than the training rows were, and an adapter
that vLLM accepted but applies as zeros (it says so at DEBUG only).
"""

from collections.abc import Sequence
from typing import Any

from flywheel.chat.render import Message, Renderer
from flywheel.errors import FlywheelError
from flywheel.serving.client import ChatClient
from flywheel.serving.vllm_server import BASE


async def check_prompt_parity(
    client: ChatClient, renderer: Renderer, histories: Sequence[list[Message]], tools: list[dict[str, Any]]
) -> int:
    """Compare the server's prompt ids with ours on each history, as it tokenizes them and as it feeds them to the model.

    Returns how many histories were compared; raises FlywheelError at the first difference.
    """
    for history in histories:
        ours = renderer.prompt_ids(history, tools)
        tokenized = await client.tokenize(BASE, history, tools)
        served = (await client.step(BASE, history, tools, max_tokens=1)).prompt_ids if tokenized == ours else tokenized
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


async def check_adapter_is_live(
    client: ChatClient, adapter: str, histories: Sequence[list[Message]], tools: list[dict[str, Any]]
) -> float:
    """Largest difference in first-token log-probability (nats) between adapter and base; raises when there is none."""
    largest = 0.0
    for history in histories:
        base = await client.first_token_log_probabilities(BASE, history, tools)
        adapted = await client.first_token_log_probabilities(adapter, history, tools)
        if base.keys() != adapted.keys():
            return float("inf")
        largest = max(largest, *(abs(base[token] - adapted[token]) for token in base))
    if largest < 1e-4:
        raise FlywheelError(
            f"adapter {adapter} changes nothing: base and adapter agree to {largest:.1e} nats on {len(histories)} prompts",
            where=f"served model {adapter}",
            remedy="its weight names do not match the served architecture, or training did nothing; see the training log",
        )
    return largest
