"""Texts made to be slow to read: what a user, a tool or a model can write is read in time that grows with its length, or not at all.

Texts of 40,000 characters and more have 2.5 seconds of processor time; what took time by the square of their length needed 3 to 45 (measured).
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from flywheel.benchmark.fingerprints import masked
from flywheel.chat import Renderer
from flywheel.chat.families import FAMILIES
from flywheel.corrections.handoff.verify.personal import found_in
from flywheel.datasets.poisoning import tokens_of
from flywheel.detectors.finding import Rules
from flywheel.failures.triage import Triage
from flywheel.operations.pack_draft.routes import _SENTENCE
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.schema_check import check_call, schema_problem
from flywheel.workflows.pack import Pack

SIZE, SECONDS = 60_000, 2.5
LONG = {
    "one word": "a" * SIZE, "one number": "1" * SIZE, "spaces": " " * SIZE, "lines": "\n" * SIZE, "at": "a@" * (SIZE // 2), "dashes": "a-" * (SIZE // 2),
    "dots": "a." * (SIZE // 2), "questions": "? " * (SIZE // 2), "mixed": "i a1 " * (SIZE // 5), "quotes": '"error" ' * (SIZE // 8),
    "brackets": "[" * SIZE, "pluses": "+1 " * (SIZE // 3), "nots": "n't" * (SIZE // 3), "numbers": "1,1 " * (SIZE // 4), "combining": "\u0301" * SIZE,
}  # fmt: skip


@contextmanager
def in_time() -> Iterator[None]:
    """End what takes more processor time than it may; how busy the machine is does not matter."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS} s of processor time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("kind", LONG)
def test_triage_reads_any_text_once(pack: Pack, kind: str):
    text = LONG[kind]
    arguments = json.dumps({"order_id": f"{text[:3_000]} A1234567"})
    messages = [
        {"role": "user", "content": text}, {"role": "assistant", "content": text},
        {"role": "user", "content": f"No, {text}"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": "c1", "content": f"Error: {text}"}, {"role": "assistant", "content": text}, {"role": "user", "content": text},
    ]  # fmt: skip
    row = {"trace_id": "t", "messages": canonical_json(messages), "tools_sha256": "x", "adapter_id": "base", "metadata": "{}", "outcome_status": "unknown",
           "feedback_score": None, "principal_ref": None, "tenant_id": None, "reward": None, "expected_actions": None}  # fmt: skip
    with in_time():
        Triage({"x": canonical_json(pack.tools)}, Rules(pack.tools)).one(row)


@pytest.mark.parametrize("read", [masked, tokens_of, found_in, _SENTENCE.split], ids=["masked", "tokens", "personal", "sentences"])  # fmt: skip
def test_so_does_what_reads_it_later(read: Callable[[str], object]):
    for text in LONG.values():
        with in_time():
            read(text[:40_000])


def test_what_was_found_before_is_found_still():
    assert (
        masked("write to Ann.B@example.org, order 123")
        == masked("write to x@y, order 77")
        == "write to @mail order #id"
    )
    assert {token for kind, token in tokens_of("see -evil.com/x, ...bad.shop and https://a.b/c") if kind == "link"} == {
        "evil.com/x", "bad.shop", "https://a.b/c"}  # fmt: skip


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*b$", r"^(?=(a+)+$)b", r"(\w+\s?)+!$", r"^(a?){60}a{60}$"])
def test_a_pattern_that_explodes_ends(pattern: str):
    """Tools come with a pack, and with every trace: neither may hold a run up."""
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}}
    tool = {"type": "function", "function": {"name": "t", "parameters": schema}}
    assert schema_problem(schema) is None or "pattern" in str(schema_problem(schema))
    with in_time():
        check_call([tool], "t", json.dumps({"x": "a" * 50_000 + "!"}))


@pytest.mark.parametrize("depth", [100, 900, 5_000, 100_000])
def test_arguments_and_schemas_of_any_depth_are_answered(depth: int):
    free = {"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}
    deep = '{"a":' * depth + "1" + "}" * depth
    assert isinstance(check_call([free], "t", deep), list)
    schema: dict = {"type": "string"}
    for _ in range(min(depth, 900)):
        schema = {"type": "object", "properties": {"a": schema}}
    nested = {"type": "function", "function": {"name": "t", "parameters": schema}}
    assert isinstance(check_call([nested], "t", deep), list)


@pytest.mark.parametrize("depth", [60, 128, 129, 600])
def test_whatever_is_read_as_arguments_every_template_can_write(depth: int, renderer_of: Callable[[str], Renderer]):
    """Also from deep inside a run: 150 frames of Python's stack are taken already."""
    raw = '{"a":' * depth + "1" + "}" * depth
    call = {"id": "c1", "type": "function", "function": {"name": "find_orders", "arguments": raw}}
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert (parse_arguments(raw).value is not None) == (depth <= 128)

    def below(frames: int, family: str) -> str:
        return (
            below(frames - 1, family) if frames else renderer_of(family).text(messages, [], add_generation_prompt=False)
        )

    for family in FAMILIES:
        assert below(150, family)
