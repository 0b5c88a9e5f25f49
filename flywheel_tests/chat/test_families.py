"""What every family's template must hold: its pin, every tool, every call, stable history, and nothing that drifts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jinja2.nodes
import jinja2.sandbox
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.chat import Renderer, families
from flywheel.chat.families import FAMILIES, find_family
from flywheel.chat.golden import GOLDEN, GOLDEN_TOOLS, steps
from flywheel.chat.render import GenerationTag
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack

each_family = pytest.mark.parametrize("family", FAMILIES)
RendererOf = Callable[[str], Renderer]


@each_family
def test_the_template_is_the_pinned_one(family: str):
    find_family(family).check_template()


def test_a_changed_template_without_a_changed_pin_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(families.TEMPLATES, tmp_path / "templates")
    (tmp_path / "templates" / "mistral.jinja").write_text("{{ 'hello' }}")
    monkeypatch.setattr(families, "TEMPLATES", tmp_path / "templates")
    find_family("gemma4").check_template()
    with pytest.raises(
        FlywheelError, match=r"set template_sha256 of mistral in flywheel/chat/families.py to [0-9a-f]{64}"
    ):
        find_family("mistral").check_template()


@each_family
def test_the_template_reads_nothing_but_the_conversation(family: str):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(extensions=[GenerationTag])
    source = find_family(family).template_file.read_text(encoding="utf-8")
    names = list(environment.parse(source).find_all(jinja2.nodes.Name))
    macros = {macro.name for macro in environment.parse(source).find_all(jinja2.nodes.Macro)}
    read = {name.name for name in names if name.ctx == "load"} - {name.name for name in names if name.ctx != "load"}
    assert read - macros - {"loop", "namespace", "dict"} <= {"messages", "tools", "add_generation_prompt"}, (
        "a date or a switch would make prompts drift"
    )


@each_family
def test_every_token_of_the_family_is_one_token(renderer_of: RendererOf, family: str):
    renderer = renderer_of(family)
    assert set(renderer.family.end_of_turn) <= set(renderer.family.special_tokens)
    for token in renderer.family.special_tokens:
        assert len(renderer.encode(token)) == 1
        assert renderer.decode(renderer.encode(token)) == token


@each_family
def test_every_tool_name_is_shown_with_and_without_a_system_prompt(renderer_of: RendererOf, pack: Pack, family: str):
    user = [{"role": "user", "content": "Hello"}]
    for history in (user, [{"role": "system", "content": pack.system}, *user]):
        text = renderer_of(family).text(history, pack.tools, add_generation_prompt=True)
        for tool in pack.tools:
            assert tool["function"]["name"] in text and tool["function"]["description"] in text
        assert "x-access" not in text
    assert text.count(pack.system.strip()) == 1 and "Hello" in text


@each_family
def test_the_system_prompt_is_shown_when_no_user_has_spoken(renderer_of: RendererOf, family: str):
    history = [{"role": "system", "content": "Be kind."}, {"role": "assistant", "content": "Welcome."}]
    text = renderer_of(family).text([*history, {"role": "user", "content": "Hi"}], [], add_generation_prompt=True)
    assert text.count("Be kind.") == 1 and text.index("Be kind.") < text.index("Welcome.") < text.index("Hi")


@each_family
@pytest.mark.parametrize("conversation", GOLDEN)
def test_history_never_changes_as_the_conversation_grows(renderer_of: RendererOf, family: str, conversation: list):
    renderer = renderer_of(family)
    latest = renderer.prompt_ids(conversation, GOLDEN_TOOLS)
    for history, target in steps(conversation):
        step = renderer.step(history, target, GOLDEN_TOOLS)
        assert step.prompt_ids == renderer.prompt_ids(history, GOLDEN_TOOLS)
        assert renderer.decode(step.target_ids[-1:]) in renderer.family.end_of_turn
        trained = [*step.prompt_ids, *step.target_ids]
        assert latest[: len(trained)] == trained, "what was trained is what the next step reads"


@each_family
def test_no_text_and_empty_text_beside_calls_are_the_same(renderer_of: RendererOf, family: str):
    history, target = steps(GOLDEN[4])[0]
    variants = [
        {**target, "content": None},
        {**target, "content": ""},
        {k: v for k, v in target.items() if k != "content"},
    ]
    texts = {renderer_of(family).text([*history, each], GOLDEN_TOOLS, add_generation_prompt=False) for each in variants}
    assert len(texts) == 1 and "None" not in texts.pop()


@each_family
def test_results_stand_with_their_calls_whatever_ids_the_server_made_up(renderer_of: RendererOf, family: str):
    conversation = GOLDEN[2][:5]
    renamed = [dict(message) for message in conversation]
    renamed[2] = {**renamed[2], "tool_calls": [{**call, "id": f"x{call['id']}"} for call in renamed[2]["tool_calls"]]}
    for result in renamed[3:]:
        result["tool_call_id"] = f"x{result['tool_call_id']}"
    text = renderer_of(family).text(conversation, GOLDEN_TOOLS, add_generation_prompt=True)
    assert renderer_of(family).text(renamed, GOLDEN_TOOLS, add_generation_prompt=True) == text


@settings(max_examples=100, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    said=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    answer=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)
def test_prompt_ids_are_a_prefix_of_what_is_trained_for_any_text(
    renderer_of: RendererOf, family: str, said: str, answer: str
):
    renderer = renderer_of(family)
    history = [{"role": "user", "content": said}]
    step = renderer.step(history, {"role": "assistant", "content": answer}, GOLDEN_TOOLS)
    whole = renderer.text(
        [*history, {"role": "assistant", "content": answer}], GOLDEN_TOOLS, add_generation_prompt=False
    )
    assert renderer.encode(whole)[: len(step.prompt_ids) + len(step.target_ids)] == [*step.prompt_ids, *step.target_ids]


def test_every_family_says_where_it_ran_at_full_size_and_what_goes_wrong():
    for family in FAMILIES.values():
        assert family.full_size_runs and family.traps and family.models
        assert family.tool_parser_plugin is None or family.tool_parser_plugin.is_file()


def test_a_family_nobody_knows_is_an_error_that_names_the_known_ones(tmp_path: Path):
    with pytest.raises(Exception, match="chatml_hermes"):
        Renderer(tmp_path / "tokenizer.json", "llama9")
