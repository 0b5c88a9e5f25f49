"""Scoring texts: batches and a shared beginning change nothing, and the child measures the exported adapter."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from flywheel.training import forgetting
from flywheel.training.forgetting import Text, nats, shared_length


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    )).eval()  # fmt: skip


def plainly(model: LlamaForCausalLM, text: Text) -> float:
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([text.ids])).logits[0].log_softmax(-1)
    return -sum(scores[place - 1, text.ids[place]].item() for place in range(text.first, len(text.ids)))


@pytest.mark.parametrize("beginning", [[], list(range(5, 35))])
def test_nats_equal_those_of_one_text_at_a_time(
    model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, beginning: list[int]
):
    monkeypatch.setattr(forgetting, "_BATCH_TOKENS", 24)
    texts = [Text([*beginning, *range(40, 40 + n), n], len(beginning) + 2) for n in (3, 9, 5, 3, 14, 7)]
    assert shared_length(texts) == (len(beginning) + 1 if beginning else 1)
    assert nats(model, texts) == pytest.approx([plainly(model, text) for text in texts], abs=1e-3)


def test_what_all_begin_with_never_swallows_the_token_that_predicts_the_first_scored_one():
    assert shared_length([Text([1, 2, 3, 4], 1), Text([1, 2, 3, 4, 5], 1)]) == 0
    assert shared_length([Text([1, 2, 3, 4], 3), Text([1, 2, 3, 9], 3)]) == 2
