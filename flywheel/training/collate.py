"""Packs: rows laid out as a tree of tokens, each shared token computed once.

Rows of an agent share most of their tokens: the system prompt and the tools (80 to 90 % of a short row), the earlier
steps of the same run, both sides of a preference pair up to the first token they differ in. A pack is one sequence: the
rows' token tree in depth-first order. A token sees its ancestors and nothing else (`attention.py`), its position is its
depth, and what it predicts is looked up at its parent: shifting labels by one, as is usual, would be wrong wherever rows
branch. Loss and gradient equal those of one row a sequence; tests hold the two against each other in float32.
Follows Tree Training (arXiv 2511.00413).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from flywheel.training.packing import sorted_with_shared

Span = tuple[int, int]


class Row(NamedTuple):
    """One sequence to learn or score: prompt ids and the ids that follow it; neither may be empty."""

    prompt_ids: Sequence[int]
    target_ids: Sequence[int]


class Node(NamedTuple):
    """A stretch of the pack without a branch: tokens `start` to `end`, and the spans of their ancestors, root first."""

    start: int
    end: int
    ancestors: tuple[Span, ...]


class Pack(NamedTuple):
    """A token tree of L tokens that U predictions are read from; its rows have T target tokens.

    Attributes:
        input_ids: (1, L) token ids in depth-first order.
        position_ids: (1, L) depth of each token: its position in every row that it is part of.
        nodes: the tree; every token lies in exactly one node.
        predictors: (U,) index of the token whose output predicts each target: its parent.
        targets: (U,) target token ids; rows that share a predictor and a target share the entry.
        scored: (T,) which of the U predictions each target token of each row is, row after row.
        owners: (T,) which row each target token belongs to, in the order the rows were given.
        paths: where each row's tokens lie, prompt and target.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    nodes: tuple[Node, ...]
    predictors: torch.Tensor
    targets: torch.Tensor
    scored: torch.Tensor
    owners: torch.Tensor
    paths: tuple[torch.Tensor, ...]


def pack(rows: Sequence[Row]) -> Pack:
    """Lay rows out as one token tree; at least one row."""
    sequences = [[*row.prompt_ids, *row.target_ids] for row in rows]
    ids: list[int] = []
    depths: list[int] = []
    branches: list[tuple[int, int]] = []  # (first token of a branch, the token it grows from; -1 for a root)
    paths: list[np.ndarray] = [np.empty(0, int)] * len(rows)
    path = np.empty(0, int)
    for owner, shared in zip(*sorted_with_shared(sequences), strict=True):
        fresh = np.arange(len(ids), len(ids) + len(sequences[owner]) - shared)
        if len(fresh):
            branches.append((len(ids), int(path[shared - 1]) if shared else -1))
        ids += sequences[owner][shared:]
        depths += range(shared, len(sequences[owner]))
        path = paths[owner] = np.concatenate([path[:shared], fresh])
    predictors, targets, scored, owners = _predictions(rows, paths)
    return Pack(
        torch.tensor(ids)[None], torch.tensor(depths)[None], _nodes(branches, len(ids)), predictors, targets, scored, owners,
        tuple(torch.from_numpy(path) for path in paths),
    )  # fmt: skip


def _nodes(branches: Sequence[tuple[int, int]], length: int) -> tuple[Node, ...]:
    """Cut the depth-first layout where a branch starts and behind every token that one grows from."""
    parents = dict(branches)
    cuts = {start for start, parent in branches if parent != start - 1 or parent < 0}
    cuts |= {parent + 1 for start, parent in branches if parent >= 0 and parent != start - 1}
    edges = [*sorted(cuts), length]
    nodes: dict[int, Node] = {}  # by the node's last token
    for start, end in zip(edges, edges[1:], strict=False):
        parent = parents.get(start, start - 1)
        above = nodes[parent] if parent >= 0 else None
        nodes[end - 1] = Node(start, end, _joined((*above.ancestors, above[:2])) if above else ())
    return tuple(nodes.values())


def _joined(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Spans with neighbours that touch made one."""
    joined = [spans[0]]
    for start, end in spans[1:]:
        joined[-1:] = [(joined[-1][0], end)] if joined[-1][1] == start else [joined[-1], (start, end)]
    return tuple(joined)


def _predictions(rows: Sequence[Row], paths: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
    """(predictors, targets, scored, owners) of the rows whose tokens lie at `paths`."""
    numbers: dict[tuple[int, int], int] = {}
    scored: list[int] = []
    owners: list[int] = []
    for owner, (row, path) in enumerate(zip(rows, paths, strict=True)):
        first = len(row.prompt_ids) - 1
        for predictor, target in zip(path[first:-1].tolist(), row.target_ids, strict=True):
            scored.append(numbers.setdefault((predictor, target), len(numbers)))
            owners.append(owner)
    predictors, targets = zip(*numbers, strict=True)
    return torch.tensor(predictors), torch.tensor(targets), torch.tensor(scored), torch.tensor(owners)


def dense_mask(nodes: Sequence[Node]) -> torch.Tensor:
    """(1, 1, L, L) bool, True where the row may look at the column: what the tree means, for models and tests that want it."""
    length = nodes[-1].end
    mask = torch.zeros(length, length, dtype=torch.bool)
    for start, end, ancestors in nodes:
        for first, last in ancestors:
            mask[start:end, first:last] = True
        mask[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
    return mask[None, None]
