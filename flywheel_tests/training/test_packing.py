"""Steps and packs: every row as often as planned, related rows together, no pack above its bound, the same every time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.training.packing import cut, cut_all, distinct_tokens, plan_steps, refusal, related, sorted_with_shared

rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=25)


def brute_distinct(sequences: list[list[int]]) -> int:
    return len({tuple(ids[: end + 1]) for ids in sequences for end in range(len(ids))})


@given(rows)
def test_distinct_tokens_are_those_of_the_tree(sequences: list[list[int]]):
    assert distinct_tokens(sequences) == brute_distinct(sequences)


@given(rows, st.integers(1, 60), st.integers(1, 8), st.integers(1, 30), st.integers(0, 3))
def test_every_epoch_shows_each_row_once_and_packs_keep_their_bound(
    sequences: list[list[int]], presentations: int, rows_per_step: int, max_tokens: int, seed: int
):
    steps = plan_steps(
        sequences, presentations=presentations, rows_per_step=rows_per_step, max_tokens=max_tokens, seed=seed
    )
    shown = [row for step in steps for units in step for row in units]
    assert len(shown) == presentations
    counts = Counter(shown)
    assert max(counts.values()) - min(counts[row] for row in range(len(sequences))) <= 1
    for step in steps:
        assert sum(map(len, step)) <= rows_per_step
        for units in step:
            assert len(units) == 1 or brute_distinct([sequences[row] for row in units]) <= max_tokens
    assert steps == plan_steps(
        sequences, presentations=presentations, rows_per_step=rows_per_step, max_tokens=max_tokens, seed=seed
    )


@given(rows, st.integers(1, 40))
def test_cutting_uses_the_fewest_packs(sequences: list[list[int]], max_tokens: int):
    order, shared = sorted_with_shared(sequences)
    lengths = [len(sequences[row]) for row in order]
    packs = cut(lengths, shared, max_tokens)
    assert [place for first, last in packs for place in range(first, last)] == list(range(len(sequences)))
    greedy, room = 0, -1
    for length, common in zip(lengths, shared, strict=True):
        if length - common > room or greedy == 0:
            greedy, room = greedy + 1, max_tokens - length
        else:
            room -= length - common
    assert len(packs) == greedy
    assert sorted(row for units in cut_all(sequences, max_tokens) for row in units) == list(range(len(sequences)))


def test_the_last_pack_is_not_left_nearly_empty():
    assert cut([10, 10, 10, 10], [0, 0, 0, 0], 30) == [(0, 2), (2, 4)], "30 + 10 would fit as well"


def test_steps_of_one_run_stay_together_and_strangers_do_not():
    system = list(range(50))
    run = [[*system, *range(100, 100 + 10 * steps)] for steps in (1, 2, 3)]
    strangers = [[*system, 200 + n, *range(300, 320)] for n in range(3)]
    sequences = [run[0], strangers[0], run[1], strangers[1], run[2], strangers[2]]
    order, shared = sorted_with_shared(sequences)
    groups = [[order[place] for place in group] for group in related([len(sequences[row]) for row in order], shared)]
    assert [0, 2, 4] in groups and len(groups) == 4


def test_another_seed_deals_otherwise():
    sequences = [[1, n] for n in range(32)]
    deals = [plan_steps(sequences, presentations=32, rows_per_step=8, max_tokens=100, seed=seed) for seed in (0, 1)]
    assert deals[0] != deals[1]


@pytest.mark.parametrize(
    ("config", "longest", "said"),
    [
        ({"model_type": "llama"}, 10_000, None),
        ({"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 512}, 10_000, None),
        ({"text_config": {"layer_types": ["linear_attention", "full_attention"]}}, 10, "linear_attention"),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}, 4096, None),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 4096}, 4097, "longrope"),
    ],
)
def test_models_whose_layers_would_leak_are_refused_with_the_reason(config: dict, longest: int, said: str | None):
    refused = refusal(config, longest)
    assert (refused is None) if said is None else said in (refused or "")
