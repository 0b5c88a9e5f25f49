"""How long the prompts of the log are: a pack that keeps less would lose most corrections of long runs to their length.

No tokenizer is at hand on the first day, so characters are counted. Prompts of the real airline runs, mostly JSON, ids and prices, have 2.6
to 3.4 of them to a token of SmolLM2 (English prose has over four).
"""

import json
import math
from typing import Any, NamedTuple

from flywheel.traces.trace import Trace

CHARACTERS_A_TOKEN = 2.5
# Nineteen of twenty runs; the longest one of a log is often a loop that nobody would train on.
SHARE = 0.95
_STEP = 1024
LEAST, MOST = 2048, 32768
# What is left for the answer.
ANSWER = 1024


class Lengths(NamedTuple):
    """Tokens of the longest prompt that trains, and of prompt and answer together; what a person should know of it, or nothing."""

    prompt: int
    model: int
    remark: str


def draft_lengths(runs: list[Trace], tools: list[dict[str, Any]], system: str) -> Lengths:
    """The lengths that keep the last assistant step of nineteen of twenty runs whole, between 2,048 and 32,768 tokens."""
    every = len(json.dumps(tools, ensure_ascii=False, separators=(",", ":"))) + len(system)
    counted = sorted(every + _characters(run) for run in runs)
    wanted = counted[math.ceil(SHARE * len(counted)) - 1] / CHARACTERS_A_TOKEN
    prompt = min(max(LEAST, _STEP * math.ceil(wanted / _STEP)), MOST)
    if prompt == LEAST:
        return Lengths(prompt, 2 * LEAST, "")
    remark = (
        f"prompts are long: {SHARE:.0%} of the runs stay under about {wanted:,.0f} tokens, so workflow.yaml says max_prompt_tokens: {prompt}; "
        "the base model has to take that many, or datasets.context_policy says how your agent shortens its history"
    )
    return Lengths(prompt, prompt + ANSWER, remark)


def _characters(run: Trace) -> int:
    """Of what stands before the run's last assistant step, without the system prompt."""
    last = max((place for place, message in enumerate(run.messages) if message.role == "assistant"), default=0)
    return sum(
        len(message.content or "") + sum(len(call.function.arguments) for call in message.tool_calls or [])
        for message in run.messages[:last]
        if message.role != "system"
    )
