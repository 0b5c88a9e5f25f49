"""Token trees: the log-probabilities and gradients of a pack equal those of one row a sequence, in float32."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedModel

from flywheel.training import attention
from flywheel.training.collate import Pack, Row, dense_mask, pack
from flywheel.training.forward import target_log_probabilities
from flywheel.training.preference import pair_scores

SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "attn_implementation": attention.NAME,
}  # fmt: skip
PREFIX = list(range(3, 33))
ROWS = [
    Row([*PREFIX, 40, 41], [50, 2]),
    Row([*PREFIX, 42], [51, 52, 53, 2]),
    Row([*PREFIX, 40, 41, 50, 2, 45], [54, 2]),  # goes on where the first row ended
    Row([*PREFIX, 42], [51, 52, 60, 2]),  # branches inside the second row's target
    Row([*PREFIX, 60], [2]),
    Row([*PREFIX, 60], [2]),  # the same row again
    Row([9, 8], [7]),  # shares nothing: a second root
]


@pytest.fixture(scope="module")
def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    attention.register()
    return LlamaForCausalLM(LlamaConfig(**SMALL))


@pytest.fixture(scope="module")
def windowed() -> PreTrainedModel:
    torch.manual_seed(0)
    attention.register()
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=7))


def alone(model: PreTrainedModel, rows: list[Row]) -> torch.Tensor:
    """The same from one row a sequence, full logits, transformers' own attention: what everyone else does."""
    model.set_attn_implementation("eager")
    found = []
    for row in rows:
        logits = model(input_ids=torch.tensor([[*row.prompt_ids, *row.target_ids]])).logits[0].float().log_softmax(-1)
        places = logits[len(row.prompt_ids) - 1 : -1]
        found.append(places.gather(1, torch.tensor(row.target_ids)[:, None])[:, 0])
    model.set_attn_implementation(attention.NAME)
    return torch.cat(found)


def gradient(model: PreTrainedModel, log_probabilities: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    # Every position weighs otherwise: a mix-up of two targets would show.
    weights = torch.linspace(0.5, 1.5, len(log_probabilities))
    (-(log_probabilities * weights).mean()).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def compare(model: PreTrainedModel, rows: list[Row]) -> None:
    together, apart = target_log_probabilities(model, pack(rows)), alone(model, rows)
    assert torch.allclose(together, apart, atol=1e-5)
    one, other = gradient(model, together), gradient(model, apart)
    assert (one - other).norm() / other.norm() < 1e-5


def test_log_probabilities_and_gradients_equal_those_of_rows_alone(llama: PreTrainedModel):
    compare(llama, ROWS)


def test_a_sliding_window_counts_along_a_rows_own_path(windowed: PreTrainedModel):
    compare(windowed, ROWS)


def test_blocks_of_queries_meet_where_a_node_is_longer_than_one(llama: PreTrainedModel, windowed: PreTrainedModel):
    torch.manual_seed(1)
    long = torch.randint(3, 60, (attention.QUERIES + 50,)).tolist()
    rows = [Row([*long, 4, *long[:300]], [5]), Row([*long, 6], [7, 8]), Row(long[:40], [9])]
    compare(llama, rows)
    compare(windowed, rows)


trees = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 40), st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=4)),
    min_size=1, max_size=7,
)  # fmt: skip


def grown(shape: list[tuple[int, int, list[int], list[int]]]) -> list[Row]:
    """Rows of which each begins like an earlier one, as far as it says: trees of every form."""
    rows: list[Row] = []
    for earlier, shared, rest, target in shape:
        before = [*rows[earlier % len(rows)].prompt_ids, *rows[earlier % len(rows)].target_ids] if rows else []
        rows.append(Row([1, *before[1:shared], *rest], target))
    return rows


@settings(max_examples=25, deadline=None)
@given(shape=trees)
def test_any_tree_gives_what_its_rows_give_alone(
    llama: PreTrainedModel, shape: list[tuple[int, int, list[int], list[int]]]
):
    rows = grown(shape)
    with torch.no_grad():
        assert torch.allclose(target_log_probabilities(llama, pack(rows)), alone(llama, rows), atol=1e-5)


@given(trees)
def test_a_pack_holds_each_token_once_and_reads_every_target_from_its_parent(
    shape: list[tuple[int, int, list[int], list[int]]],
):
    rows = grown(shape)
    packed = pack(rows)
    sequences = [[*row.prompt_ids, *row.target_ids] for row in rows]
    distinct = {tuple(ids[: end + 1]) for ids in sequences for end in range(len(ids))}
    assert packed.input_ids.shape == (1, len(distinct)) and packed.nodes[-1].end == len(distinct)
    for row, (ids, path) in enumerate(zip(sequences, packed.paths, strict=True)):
        assert packed.input_ids[0, path].tolist() == ids
        assert packed.position_ids[0, path].tolist() == list(range(len(ids)))
        entries = packed.scored[packed.owners == row]
        assert packed.targets[entries].tolist() == list(rows[row].target_ids)
        assert packed.predictors[entries].tolist() == path[len(rows[row].prompt_ids) - 1 : -1].tolist()
    assert len({*zip(packed.predictors.tolist(), packed.targets.tolist(), strict=True)}) == len(packed.predictors)


@given(trees)
def test_a_node_sees_exactly_the_tokens_of_its_path(shape: list[tuple[int, int, list[int], list[int]]]):
    packed = pack(grown(shape))
    mask = dense_mask(packed.nodes)[0, 0]
    for path in packed.paths:
        for depth, place in enumerate(path.tolist()):
            assert set(mask[place].nonzero()[:, 0].tolist()) == set(path[: depth + 1].tolist())


def test_the_tree_means_the_dense_mask(llama: PreTrainedModel):
    packed = pack(ROWS)
    ours = llama.model(
        input_ids=packed.input_ids, position_ids=packed.position_ids, nodes=packed.nodes
    ).last_hidden_state  # pyright: ignore[reportAttributeAccessIssue]
    llama.set_attn_implementation("sdpa")
    masked = llama.model(  # pyright: ignore[reportAttributeAccessIssue]
        input_ids=packed.input_ids, position_ids=packed.position_ids, attention_mask=dense_mask(packed.nodes)
    ).last_hidden_state
    llama.set_attn_implementation(attention.NAME)
    assert torch.allclose(ours, masked, atol=1e-5)


def test_a_model_without_tree_attention_computes_one_row_after_the_other(llama: PreTrainedModel):
    together = target_log_probabilities(llama, pack(ROWS))
    llama.set_attn_implementation("sdpa")
    apart = target_log_probabilities(llama, pack(ROWS))
    llama.set_attn_implementation(attention.NAME)
    assert torch.allclose(together, apart, atol=1e-5)


def test_pair_scores_sum_each_sides_tokens_although_sides_share_their_beginning(llama: PreTrainedModel):
    pairs = [
        Row([*PREFIX, 40], [50, 51, 2]),
        Row([*PREFIX, 40], [50, 52, 2]),
        Row([*PREFIX, 41], [2]),
        Row([*PREFIX, 41], [50, 2]),
    ]
    packed: Pack = pack(pairs)
    scores = pair_scores(llama, packed)
    sums = [part.sum() for part in alone(llama, pairs).split([3, 3, 1, 2])]
    assert torch.allclose(scores.chosen, torch.stack([sums[0], sums[2]]), atol=1e-5)
    assert torch.allclose(scores.rejected, torch.stack([sums[1], sums[3]]), atol=1e-5)
    assert scores.chosen_tokens.tolist() == [3, 1]
