"""One renderer: what it shows the model, and that prompts are prefixes of what is trained."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.chat import Renderer
from flywheel.workflows.pack import Pack

CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_order", "arguments": '{"order_id": "Ä-1", "n": 1.50}'},
}
HISTORY = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "Where is Ä-1?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"status": "shipped"}'},
]


def test_every_tool_and_every_call_is_rendered(renderer: Renderer, pack: Pack):
    text = renderer.text(HISTORY, pack.tools, add_generation_prompt=True)
    for tool in pack.tools:
        assert f'"name": "{tool["function"]["name"]}"' in text
    assert '<tool_call>\n{"name": "get_order", "arguments": {"order_id": "Ä-1", "n": 1.5}}\n</tool_call>' in text
    assert "x-access" not in text
    assert text.endswith("<|im_start|>assistant\n")


def test_two_calls_in_one_turn_come_back_as_two(renderer: Renderer, pack: Pack):
    message = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    text = renderer.text([*HISTORY[:2], message], pack.tools, add_generation_prompt=False)
    calls = [json.loads(part.split("</tool_call>")[0]) for part in text.split("<tool_call>\n")[1:]]
    assert [call["name"] for call in calls] == ["get_order", "get_order"]


def test_unparsable_arguments_render_as_vllm_renders_them(renderer: Renderer, pack: Pack):
    broken = {**CALL, "function": {"name": "get_order", "arguments": "{oops"}}
    message = {"role": "assistant", "content": None, "tool_calls": [broken]}
    assert '"arguments": {}}' in renderer.text([*HISTORY[:2], message], pack.tools, add_generation_prompt=False)


def test_the_target_ends_with_the_end_of_turn_and_nothing_after_it(renderer: Renderer, pack: Pack):
    step = renderer.step(HISTORY, {"role": "assistant", "content": "It is shipped."}, pack.tools)
    assert renderer.decode(step.target_ids) == "It is shipped.<|im_end|>"


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
)
def test_prompt_ids_are_a_prefix_of_the_whole_for_any_text(renderer: Renderer, pack: Pack, said: str, answer: str):
    history = [{"role": "system", "content": "x"}, {"role": "user", "content": said}]
    step = renderer.step(history, {"role": "assistant", "content": "k " + answer}, pack.tools)
    assert step.prompt_ids == renderer.prompt_ids(history, pack.tools)
    whole = renderer.text(
        [*history, {"role": "assistant", "content": "k " + answer}], pack.tools, add_generation_prompt=False
    )
    assert renderer.decode([*step.prompt_ids, *step.target_ids]) == whole.removesuffix("\n")


def test_an_unknown_family_names_the_known_ones(renderer: Renderer):
    with pytest.raises(Exception, match="chatml_hermes"):
        Renderer(renderer.tokenizer_file, "llama9")
