"""Slow: the templates as transformers and TRL render them, which load in many seconds: equal to ours, on any day, and fit to train."""

import datetime
from collections.abc import Callable

import pytest

from flywheel.chat import Renderer
from flywheel.chat.families import FAMILIES
from flywheel.chat.golden import GOLDEN, GOLDEN_TOOLS, steps
from flywheel.chat.render import canonical_tools, for_template

pytestmark = pytest.mark.slow
each_family = pytest.mark.parametrize("family", FAMILIES)
RendererOf = Callable[[str], Renderer]


def tokenizer_of(renderer: Renderer):
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(renderer.tokenizer_file), eos_token=renderer.family.end_of_turn[0]
    )
    tokenizer.chat_template = renderer.template_file.read_text(encoding="utf-8")
    return tokenizer


@each_family
def test_trl_can_train_the_template(renderer_of: RendererOf, family: str):
    from trl import chat_template_utils as trl

    tokenizer = tokenizer_of(renderer_of(family))
    assert trl.supports_tool_calling(tokenizer)
    assert trl.is_chat_template_prefix_preserving(tokenizer)
    assert trl.is_chat_template_stop_token_trained(tokenizer)


@each_family
def test_transformers_renders_what_we_render_on_any_day(
    renderer_of: RendererOf, family: str, monkeypatch: pytest.MonkeyPatch
):
    from transformers.utils import chat_template_utils

    class NextYear(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + datetime.timedelta(days=365)

    renderer, tokenizer = renderer_of(family), tokenizer_of(renderer_of(family))
    for day in (datetime.datetime, NextYear):
        monkeypatch.setattr(chat_template_utils, "datetime", day)
        for conversation in GOLDEN:
            theirs = tokenizer.apply_chat_template(
                [for_template(message) for message in conversation], tools=canonical_tools(GOLDEN_TOOLS),
                add_generation_prompt=True, tokenize=False,
            )  # fmt: skip
            assert theirs == renderer.text(conversation, GOLDEN_TOOLS, add_generation_prompt=True)


@each_family
def test_the_generation_marks_are_what_the_model_writes(renderer_of: RendererOf, family: str):
    renderer, tokenizer = renderer_of(family), tokenizer_of(renderer_of(family))
    for conversation in GOLDEN:
        marked = tokenizer.apply_chat_template(
            [for_template(message) for message in conversation], tools=canonical_tools(GOLDEN_TOOLS), tokenize=True,
            return_dict=True, return_assistant_tokens_mask=True,
        )  # fmt: skip
        trained = [id for id, mask in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mask]
        assert trained == [
            id
            for history, target in steps(conversation)
            for id in renderer.step(history, target, GOLDEN_TOOLS).target_ids
        ]
