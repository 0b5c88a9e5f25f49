"""Which rows share an optimizer step, and which of those a forward pass. No torch here.

A step holds `rows_per_step` rows. Rows that share more than what all rows share (the steps of one run, the corrections of
one moment) are kept together, since their tokens are then computed once; which of those groups meet in a step is drawn
by the seed, anew for each epoch. A step whose token tree is larger than `max_tokens` is cut into several packs, so memory
is bounded by the largest pack whatever the number of rows; their gradients add up to that of the step.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Pack = list[int]
Step = list[Pack]


def plan_steps(
    sequences: Sequence[Sequence[int]], *, presentations: int, rows_per_step: int, max_tokens: int, seed: int
) -> list[Step]:
    """Steps of packs of row numbers, for `presentations` rows in all; every epoch shows each row once.

    Args:
        sequences: token ids of each row, prompt and target; rows that learn together (both sides of a preference pair)
            come as one sequence per unit: what is given is what is dealt.
        max_tokens: most distinct tokens of a pack; a row that is longer makes a pack of its own.
    """
    order, shared = sorted_with_shared(sequences)
    lengths = [len(sequences[row]) for row in order]
    groups = related(lengths, shared)
    steps: list[Step] = []
    epoch = 0
    while presentations > 0:
        chance = random.Random(f"{seed}/{epoch}")
        dealt = [place for group in chance.sample(groups, len(groups)) for place in group][:presentations]
        for start in range(0, len(dealt), rows_per_step):
            places = sorted(dealt[start : start + rows_per_step])
            # Between two rows that are not neighbours, the least of what lies between is shared.
            common = [min(shared[one + 1 : other + 1]) for one, other in zip(places, places[1:], strict=False)]
            cuts = cut([lengths[place] for place in places], [0, *common], max_tokens)
            steps.append([[order[place] for place in places[first:last]] for first, last in cuts])
        presentations -= len(dealt)
        epoch += 1
    return steps


def sorted_with_shared(sequences: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Row numbers in token order, and how many leading tokens each shares with the one before it (the first: 0).

    In token order the rows of one subtree are neighbours: this is the depth-first order of the token tree.
    """
    arrays = [np.asarray(sequence, dtype=">u4") for sequence in sequences]
    order = sorted(range(len(arrays)), key=lambda row: arrays[row].tobytes())
    return order, [0, *(_common(arrays[one], arrays[other]) for one, other in zip(order, order[1:], strict=False))]


def _common(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    different = one[:length] != other[:length]
    return int(different.argmax()) if different.any() else length


def related(lengths: Sequence[int], shared: Sequence[int]) -> list[list[int]]:
    """Places of sorted rows in groups of neighbours that share half or more of what not all rows share."""
    everywhere = min(shared[1:], default=0)
    groups: list[list[int]] = []
    for place, common in enumerate(shared):
        own = min(lengths[place], lengths[place - 1]) - everywhere
        if place and own > 0 and 2 * (common - everywhere) >= own:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def cut(lengths: Sequence[int], shared: Sequence[int], max_tokens: int) -> list[tuple[int, int]]:
    """Cut sorted rows into the fewest packs of at most `max_tokens` distinct tokens, then make the largest one small.

    Returns (first, last + 1) of each pack.
    """
    fewest = len(_filled(lengths, shared, max_tokens))
    low, high = 0, max_tokens
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_filled(lengths, shared, middle)) <= fewest else (middle + 1, high)
    return _filled(lengths, shared, low)


def _filled(lengths: Sequence[int], shared: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Packs filled one after the other up to `limit` distinct tokens."""
    starts, tokens = [0], lengths[0]
    for place in range(1, len(lengths)):
        tokens += lengths[place] - shared[place]
        if tokens > limit:
            starts.append(place)
            tokens = lengths[place]
    return list(zip(starts, [*starts[1:], len(lengths)], strict=True))


def cut_all(sequences: Sequence[Sequence[int]], max_tokens: int) -> Step:
    """All rows as one step, cut into packs."""
    order, shared = sorted_with_shared(sequences)
    cuts = cut([len(sequences[row]) for row in order], shared, max_tokens)
    return [order[first:last] for first, last in cuts]


def distinct_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of the tree that the sequences form: what a pack of all of them computes."""
    order, shared = sorted_with_shared(sequences)
    return sum(len(sequences[row]) for row in order) - sum(shared)


def refusal(config: Mapping[str, Any], longest: int) -> str | None:
    """Why rows of a model cannot share tokens, from its config.json; None where they can.

    Full and sliding-window attention see exactly a token's ancestors. A linear-attention or state-space layer carries one
    state along the sequence and would leak from branch to branch. Rotary embeddings that are chosen by the length of the
    whole batch are the same for every row only below the original context.

    Args:
        longest: tokens of the longest row.
    """
    text = {**config, **config.get("text_config", {})}
    other = sorted({*(text.get("layer_types") or ())} - {"full_attention", "sliding_attention"})
    if other:
        return f"the model has {', '.join(other)} layers, whose state would leak from branch to branch: one row a pass"
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    original = rope.get("original_max_position_embeddings") or text.get("original_max_position_embeddings")
    if kind in ("dynamic", "longrope") and original and longest > original:
        return (
            f"rows longer than {original} tokens change the {kind} position embedding of a whole pack: one row a pass"
        )
    return None
