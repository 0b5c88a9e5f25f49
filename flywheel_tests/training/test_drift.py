"""What was forgotten: the frozen texts, which steps stand for untouched tools, the interval, and the sentence."""

import json
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.training.drift import GENERAL_TEXTS, drift, general_texts, regression_steps, sentence, touched_tools
from flywheel.training.spec import Forgetting

WEEK = "2026-01-05"


def row(name: str, tool: str | None, *, source: str = "demonstration", week: str | None = None) -> dict:
    calls = [{"id": "c", "type": "function", "function": {"name": tool, "arguments": "{}"}}] if tool else None
    target = {"role": "assistant", "content": "", **({"tool_calls": calls} if calls else {})}
    return {"row_id": name, "source": source, "from_week": week, "target": json.dumps(target)}


def test_the_general_set_is_frozen_and_varied(tmp_path: Path):
    assert len(set(general_texts())) == 60
    kinds = [json.loads(line)["kind"] for line in GENERAL_TEXTS.read_text().splitlines()]
    assert {"explanation", "arithmetic", "code", "summary", "dialogue"} <= set(kinds)
    changed = tmp_path / "general_texts.jsonl"
    changed.write_bytes(GENERAL_TEXTS.read_bytes().replace(b"lever", b"Lever", 1))
    with pytest.raises(FlywheelError, match="not the frozen ones"):
        general_texts(changed)


def test_only_steps_of_tools_nobody_corrected_this_week_are_asked_about():
    mix = [row("a", "refund", source="correction", week=WEEK), row("b", "refund"), row("c", "track"), row("d", None),
           row("e", "cancel", source="correction", week="2025-12-29"), row("f", "cancel")]  # fmt: skip
    touched = touched_tools(mix, WEEK)
    assert touched == {"refund"}
    steps, source = regression_steps(mix, [], touched)
    assert ([step["row_id"] for step in steps], source) == (["c", "e", "f"], "mix")
    steps, source = regression_steps(mix, [row("held", "track"), row("no", "refund")], touched)
    assert ([step["row_id"] for step in steps], source) == (["held"], "held_out")
    assert regression_steps(mix, [], {"refund", "track", "cancel"}) == ([], "none")


def test_the_change_is_a_mean_over_tokens_with_an_interval_over_texts():
    tokens = [10, 30, 20] * 20
    base = [2.0 * count for count in tokens]
    worse = drift(base, [value + 0.3 * count for value, count in zip(base, tokens, strict=True)], tokens)
    assert worse.change == pytest.approx(0.3) and worse.low == pytest.approx(0.3) and worse.base == pytest.approx(2.0)
    noisy = drift(base, [value + (5 if n % 2 else -5) for n, value in enumerate(base)], tokens)
    assert noisy.low < 0 < noisy.high and (noisy.texts, noisy.tokens) == (60, 1200)


def test_the_sentence_says_what_it_stands_on():
    worse = drift([20.0] * 5, [25.0] * 5, [10] * 5)
    said = sentence(Forgetting(general=worse, general_sha256="x", tools=None, tools_source="none"))
    assert "2.000 -> 2.500 nats a token, +0.500 (95 % +0.500 to +0.500; 5 texts; 50 tokens): forgot" in said
    assert "no accepted step calls one" in said
    better = drift([25.0] * 5, [20.0] * 5, [10] * 5)
    said = sentence(Forgetting(general=worse, general_sha256="x", tools=better, tools_source="mix"))
    assert "of the mix itself, so a fall proves nothing" in said
