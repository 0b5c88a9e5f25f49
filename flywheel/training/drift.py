"""What an adapter forgot: which texts are asked about, and how the answers are summed up. No torch here.

Two sets, neither of them trained on with loss: the frozen general texts beside this file, and accepted steps of tools that
this week's corrections did not touch. Both are scored under the base model and under the candidate (`forgetting.py`); a
rise in negative log-likelihood is what was forgotten (the metric of PEFT's own method comparison).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flywheel.errors import FlywheelError
from flywheel.training.spec import Drift, Forgetting

GENERAL_TEXTS = Path(__file__).with_name("general_texts.jsonl")
# A change here breaks every comparison with earlier weeks.
GENERAL_SHA256 = "8c8cce17da8ade7f7645f6b58ae4f1fca83a57310747623052984a2206a2840f"
REGRESSION_STEPS = 24
_RESAMPLES = 2_000


def general_texts(file: Path = GENERAL_TEXTS) -> list[str]:
    """The frozen set: explanations, arithmetic, code, summaries, dialogue, narrative; raises FlywheelError when it was changed."""
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != GENERAL_SHA256:
        raise FlywheelError("the general texts are not the frozen ones", where=str(file),
                            remedy="install flywheel again; forgetting is compared between weeks on these very texts")  # fmt: skip
    return [json.loads(line)["text"] for line in content.decode().splitlines()]


def regression_steps(
    mix: Iterable[Mapping[str, Any]], held_out: Iterable[Mapping[str, Any]], touched: set[str]
) -> tuple[list[Mapping[str, Any]], str]:
    """At most `REGRESSION_STEPS` accepted steps that call only tools which nobody corrected this week, and where they are from.

    Steps held out of all training come first: what they show was never seen. Where the pack holds none out, steps of the mix
    itself stand in: a rise still means that the adapter unlearned a tool, a fall proves nothing.

    Args:
        mix, held_out: rows with row_id, tools, messages and target.
        touched: tools that this week's corrections call.
    """
    for rows, source in ((held_out, "held_out"), (mix, "mix")):
        found = [row for row in rows if (called := _tools_called(row)) and not called & touched]
        if found:
            return sorted(found, key=lambda row: row["row_id"])[:REGRESSION_STEPS], source
    return [], "none"


def touched_tools(mix: Iterable[Mapping[str, Any]], week: str) -> set[str]:
    """Tools that the corrections of a week call in their steps."""
    corrected = (row for row in mix if row["source"] == "correction" and row["from_week"] == week)
    return set().union(*(_tools_called(row) for row in corrected))


def _tools_called(row: Mapping[str, Any]) -> set[str]:
    return {call["function"]["name"] for call in json.loads(row["target"]).get("tool_calls") or []}


def drift(base: Sequence[float], candidate: Sequence[float], tokens: Sequence[int]) -> Drift:
    """Both models' mean negative log-likelihood and its change, with a 95 % interval by bootstrap over texts.

    Args:
        base, candidate: nats of each text, summed over its tokens.
        tokens: scored tokens of each text.
    """
    weights = np.array(tokens, dtype=float)
    change = np.array(candidate) - np.array(base)
    drawn = np.random.default_rng(0).integers(len(weights), size=(_RESAMPLES, len(weights)))
    low, high = np.quantile(change[drawn].sum(1) / weights[drawn].sum(1), [0.025, 0.975])
    total = weights.sum()
    return Drift(
        base=float(np.sum(base) / total), candidate=float(np.sum(candidate) / total), change=float(change.sum() / total),
        low=float(low), high=float(high), texts=len(weights), tokens=int(total),
    )  # fmt: skip


def sentence(found: Forgetting) -> str:
    """For an analyst: what the figures say, with their denominators."""
    said = [f"General texts: {_told(found.general, 'texts')}."]
    if found.tools:
        whence = (
            "held out of all training"
            if found.tools_source == "held_out"
            else "of the mix itself, so a fall proves nothing"
        )
        said.append(f"Tools nobody corrected this week: {_told(found.tools, f'steps, {whence}')}.")
    else:
        said.append("Tools nobody corrected this week: no accepted step calls one, so nothing is measured.")
    return " ".join(said)


def _told(one: Drift, of: str) -> str:
    verdict = "forgot" if one.low > 0 else "got better at them" if one.high < 0 else "no clear change"
    return (
        f"{one.base:.3f} -> {one.candidate:.3f} nats a token, {one.change:+.3f} (95 % {one.low:+.3f} to {one.high:+.3f}; "
        f"{one.texts} {of}; {one.tokens} tokens): {verdict}"
    )
