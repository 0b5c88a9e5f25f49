"""What a family's template writes, vLLM's parser for that family reads back: the same calls, in one child for all of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.chat import Renderer
from flywheel.chat.families import FAMILIES, find_family
from flywheel.chat.golden import GOLDEN, GOLDEN_TOOLS, steps
from flywheel.chat.render import Message
from flywheel.serving.parse import Parsing, parsing

each_family = pytest.mark.parametrize("family", FAMILIES)
RendererOf = Callable[[str], Renderer]
USER = [{"role": "user", "content": "Go on."}]


@pytest.fixture(scope="module")
def child() -> Iterator[Parsing]:
    with parsing() as opened:
        yield opened


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": text}}


def written(renderer: Renderer, target: Message, tools: list[dict[str, Any]], history: list[Message] = USER) -> str:
    """What the model must write for a target, as the server decodes it: without the token it stops at."""
    ids = renderer.step(history, target, tools).target_ids
    assert renderer.decode(ids[-1:]) in renderer.family.end_of_turn
    return renderer.decode(ids[:-1])


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are one number, but true is none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def check_round_trip(child: Parsing, renderer: Renderer, target: Message, tools: list[dict[str, Any]]) -> None:
    answer = child.message(renderer.family, renderer.tokenizer_file, tools, written(renderer, target, tools))
    meant = [
        (each["function"]["name"], json.loads(each["function"]["arguments"])) for each in target.get("tool_calls", [])
    ]
    read = [(each["name"], json.loads(each["arguments"])) for each in answer["tool_calls"]]
    assert [name for name, _ in read] == [name for name, _ in meant]
    assert all(same(found, wanted) for (_, found), (_, wanted) in zip(read, meant, strict=True)), (read, meant)
    assert (answer["content"] or "").strip() == (target.get("content") or "").strip()


@each_family
def test_the_golden_conversations_come_back(child: Parsing, renderer_of: RendererOf, family: str):
    targets = [target for conversation in GOLDEN for _, target in steps(conversation)]
    for target in targets:
        check_round_trip(child, renderer_of(family), target, GOLDEN_TOOLS)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
leaf = st.sampled_from(["string", "integer", "number", "boolean"]).map(lambda kind: {"type": kind})
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, inner, max_size=3).map(
        lambda properties: {"type": "object", "properties": properties}
    )


schemas = st.recursive(
    leaf, lambda inner: objects(inner) | inner.map(lambda items: {"type": "array", "items": items}), max_leaves=6
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema."""
    if schema["type"] == "object":
        properties = {name: values(inner) for name, inner in schema["properties"].items()}
        return st.fixed_dictionaries({}, optional=properties)
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=3)
    return {
        "string": text,
        "integer": st.integers(-(2**53), 2**53),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
    }[schema["type"]]


@st.composite
def turns(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Message]:
    """Tools, and one assistant message that calls them, any number of times."""
    parameters = draw(st.dictionaries(names, objects(schemas), min_size=1, max_size=2))
    tools = [
        {"type": "function", "function": {"name": name, "description": draw(text), "parameters": schema}}
        for name, schema in parameters.items()
    ]
    called = draw(st.lists(st.sampled_from(sorted(parameters)), max_size=3))
    message: Message = {"role": "assistant", "content": draw(st.none() | text)}
    if called:
        message["tool_calls"] = [call(name, draw(values(parameters[name]))) for name in called]
    return tools, message


@each_family
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turn=turns())
def test_any_calls_of_any_schema_come_back(
    child: Parsing, renderer_of: RendererOf, family: str, turn: tuple[list[dict[str, Any]], Message]
):
    tools, target = turn
    check_round_trip(child, renderer_of(family), target, tools)


def test_phi_4_mini_reads_both_markers_and_lists_in_arguments(child: Parsing, renderer_of: RendererOf):
    renderer = renderer_of("phi4_mini")
    listed = '[{"name": "find_orders", "arguments": {"ids": [1, [2], "]"]}}, {"name": "list_places", "parameters": {}}]'
    for marker in ("functools", "<|tool_call|>"):
        answer = child.message(
            renderer.family, renderer.tokenizer_file, GOLDEN_TOOLS, f"I look. {marker}{listed} and more"
        )
        assert answer == {"content": "I look.", "tool_calls": [
            {"name": "find_orders", "arguments": '{"ids": [1, [2], "]"]}'}, {"name": "list_places", "arguments": "{}"}]}  # fmt: skip


@pytest.mark.parametrize("cut", [
    'functools[{"name": "find_orders", "arguments": {"ids": [1, 2]}}, {"name": "list_pl', "functools[", "functools",
    'functools[{"arguments": {}}]', 'functools[{"name": "find_orders", "arguments": "x"}]', "the functools module", "[1]",
])  # fmt: skip
def test_what_phi_4_mini_did_not_finish_is_text_and_no_call(child: Parsing, renderer_of: RendererOf, cut: str):
    renderer = renderer_of("phi4_mini")
    for asked in (cut, list(cut)):
        answer = child.message(renderer.family, renderer.tokenizer_file, GOLDEN_TOOLS, asked)
        assert answer == {"content": cut, "tool_calls": []}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_phi_4_mini_streams_text_as_it_comes_and_calls_whole(child: Parsing, renderer_of: RendererOf, size: int):
    renderer = renderer_of("phi4_mini")
    target = steps(GOLDEN[2])[0][1]
    whole = written(renderer, target, GOLDEN_TOOLS)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    streamed = child.message(renderer.family, renderer.tokenizer_file, GOLDEN_TOOLS, chunks)
    assert streamed == child.message(renderer.family, renderer.tokenizer_file, GOLDEN_TOOLS, whole)
    assert len(streamed["tool_calls"]) == 2 and streamed["content"] == target["content"]


def test_the_traps_that_the_records_name_are_there(child: Parsing, renderer_of: RendererOf):
    """Each is a sentence in the family's record; when a new vLLM mends one, this fails and the sentence goes."""
    renderer = renderer_of("qwen3_5")
    for value in ("null", "a</parameter>b"):
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
            "x": {"type": ["string", "null"]}}}}}]  # fmt: skip
        turn = {"role": "assistant", "content": None, "tool_calls": [call("f", {"x": value})]}
        with pytest.raises(AssertionError):
            check_round_trip(child, renderer, turn, tools)
    untyped = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    turn = {"role": "assistant", "content": None, "tool_calls": [call("f", {"x": {"y": 1}})]}
    for family in ("qwen3_5", "gemma4"):
        with pytest.raises(AssertionError):
            check_round_trip(child, renderer_of(family), turn, untyped)


def test_hermes_reads_its_own_closing_tag_inside_a_string(child: Parsing, renderer_of: RendererOf):
    turn = {"role": "assistant", "content": None, "tool_calls": [call("find_orders", {"customer": "</tool_call>"})]}
    for family in ("chatml_hermes", "smollm3"):
        assert find_family(family).tool_parser == "hermes"
        check_round_trip(child, renderer_of(family), turn, GOLDEN_TOOLS)
