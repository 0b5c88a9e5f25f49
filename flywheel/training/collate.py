"""Packs: rows that share a prefix, computed once.

All rows of a pack start with the same tokens (system prompt and tools, often 80-90 % of a row). A pack is one sequence:
the common prefix once, then every row's own rest. Each rest sees the prefix and itself only (`attention.py`), and its
position ids restart where the prefix ends, so the loss and gradient equal those of padded rows while the prefix is
computed once instead of once a row. A test holds the two against each other in float32.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

IGNORED = -100


class Segment(NamedTuple):
    """One sequence to learn or score: prompt ids and the ids that follow it."""

    prompt_ids: Sequence[int]
    target_ids: Sequence[int]


class Pack(NamedTuple):
    """Several segments in one sequence of length L.

    Attributes:
        input_ids: (1, L) token ids, the shared prefix first.
        position_ids: (1, L) positions, restarting after the prefix for each segment.
        bounds: (1 + segments,) end of the prefix, then end of every segment.
        labels: (1, L) ids at target positions, -100 elsewhere. NOT shifted: position i is predicted by `predictors[i]`.
        predictors: (T,) index of the position whose output predicts each target token.
        targets: (T,) target token ids, segment after segment.
        owners: (T,) which segment each target token belongs to.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    bounds: torch.Tensor
    labels: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    owners: torch.Tensor


def shared_prefix_length(segments: Sequence[Segment]) -> int:
    """Tokens all prompts start with; at least one prompt token stays outside, to predict the first target token."""
    prefix = os.path.commonprefix([list(segment.prompt_ids) for segment in segments])
    return min(len(prefix), *(len(segment.prompt_ids) - 1 for segment in segments))


def pack(segments: Sequence[Segment]) -> Pack:
    """Lay segments out behind their common prefix; at least one segment, each with a prompt and a target."""
    prefix = shared_prefix_length(segments)
    ids = list(segments[0].prompt_ids[:prefix])
    positions, labels, bounds = list(range(prefix)), [IGNORED] * prefix, [prefix]
    predictors: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for owner, segment in enumerate(segments):
        rest = [*segment.prompt_ids[prefix:], *segment.target_ids]
        first_target = len(ids) + len(rest) - len(segment.target_ids)
        predictors += range(first_target - 1, first_target - 1 + len(segment.target_ids))
        targets += segment.target_ids
        owners += [owner] * len(segment.target_ids)
        ids += rest
        positions += range(prefix, prefix + len(rest))
        labels += [*[IGNORED] * (len(rest) - len(segment.target_ids)), *segment.target_ids]
        bounds.append(len(ids))
    return Pack(
        torch.tensor(ids)[None],
        torch.tensor(positions)[None],
        torch.tensor(bounds),
        torch.tensor(labels)[None],
        torch.tensor(predictors),
        torch.tensor(targets),
        torch.tensor(owners),
    )


def dense_mask(bounds: Sequence[int]) -> torch.Tensor:
    """(1, 1, L, L) bool, True where the row may look at the column: what the bounds mean, for models and tests that want it."""
    prefix, *ends = bounds
    group = torch.full((bounds[-1],), -1)
    start = prefix
    for owner, end in enumerate(ends):
        group[start:end] = owner
        start = end
    causal = torch.ones(bounds[-1], bounds[-1], dtype=torch.bool).tril()
    return (causal & ((group[:, None] == group[None, :]) | (group[None, :] == -1)))[None, None]
