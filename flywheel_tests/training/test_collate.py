"""Packs: the gradient of rows that share a prefix once equals that of padded rows, in float32."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from flywheel.training import attention
from flywheel.training.collate import Segment, dense_mask, pack, shared_prefix_length
from flywheel.training.forward import as_inputs, target_log_probabilities
from flywheel.training.preference import pair_scores

PREFIX = list(range(3, 33))
SEGMENTS = [
    Segment([*PREFIX, 40, 41], [50, 2]),
    Segment([*PREFIX, 42], [51, 52, 53, 2]),
    Segment([*PREFIX, 40, 43, 44, 45], [54, 2]),
    Segment([*PREFIX, 60], [2]),
]


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    attention.register()
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, attn_implementation=attention.NAME)  # fmt: skip
    return LlamaForCausalLM(config)


def padded_log_probabilities(model: LlamaForCausalLM, segments: list[Segment]) -> torch.Tensor:
    """The same from one row a segment, right-padded, full logits: what everyone else does."""
    rows = [[*s.prompt_ids, *s.target_ids] for s in segments]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    model.set_attn_implementation("sdpa")
    logits = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
    model.set_attn_implementation(attention.NAME)
    found = [
        logits[n, len(s.prompt_ids) - 1 + i, token]
        for n, s in enumerate(segments)
        for i, token in enumerate(s.target_ids)
    ]
    return torch.stack(found)


def gradient(model: LlamaForCausalLM, log_probabilities: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    (-log_probabilities.mean()).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def test_log_probabilities_and_gradients_equal_those_of_padded_rows(model: LlamaForCausalLM):
    packed = target_log_probabilities(model, as_inputs(pack(SEGMENTS)))
    padded = padded_log_probabilities(model, SEGMENTS)
    assert torch.allclose(packed, padded, atol=1e-5)
    one, other = gradient(model, packed), gradient(model, padded_log_probabilities(model, SEGMENTS))
    assert (one - other).norm() / other.norm() < 1e-5


def test_the_bounds_mean_the_dense_mask(model: LlamaForCausalLM):
    packed = pack(SEGMENTS)
    ours = model.model(
        input_ids=packed.input_ids, position_ids=packed.position_ids, bounds=tuple(packed.bounds.tolist())
    ).last_hidden_state
    model.set_attn_implementation("sdpa")
    mask = dense_mask(packed.bounds.tolist())
    masked = model.model(
        input_ids=packed.input_ids, position_ids=packed.position_ids, attention_mask=mask
    ).last_hidden_state
    assert torch.allclose(ours, masked, atol=1e-5)


def test_a_segment_does_not_see_its_neighbours(model: LlamaForCausalLM):
    alone = target_log_probabilities(model, as_inputs(pack(SEGMENTS[1:2])))
    together = target_log_probabilities(model, as_inputs(pack(SEGMENTS)))[2:6]
    assert torch.allclose(alone, together, atol=1e-5)


def test_pairs_are_scored_side_by_side(model: LlamaForCausalLM):
    scores = pair_scores(model, as_inputs(pack(SEGMENTS)))
    each = padded_log_probabilities(model, SEGMENTS).split([2, 4, 2, 1])
    assert torch.allclose(scores.chosen, torch.stack([each[0].sum(), each[2].sum()]), atol=1e-4)
    assert torch.allclose(scores.rejected, torch.stack([each[1].sum(), each[3].sum()]), atol=1e-4)
    assert scores.chosen_tokens.tolist() == [2, 2]


IDS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(IDS, st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5))
def test_any_pack_is_shorter_than_its_rows_and_keeps_every_target(
    prefix: list[int], rests: list[tuple[list[int], list[int]]]
):
    segments = [Segment([*prefix, *rest], target) for rest, target in rests]
    packed, shared = pack(segments), shared_prefix_length(segments)
    whole = sum(len(s.prompt_ids) + len(s.target_ids) for s in segments)
    assert packed.input_ids.shape[1] == whole - shared * (len(segments) - 1)
    assert packed.targets.tolist() == [token for s in segments for token in s.target_ids]
    assert (packed.labels[0][packed.labels[0] >= 0]).tolist() == packed.targets.tolist()
    assert dense_mask(packed.bounds.tolist()).diagonal(dim1=2, dim2=3).all()
    starts = packed.position_ids[0][packed.predictors].tolist()
    lengths = [len(s.prompt_ids) - 1 + i for s in segments for i in range(len(s.target_ids))]
    assert starts == lengths, "positions restart after the prefix for each segment"
