"""Attention over a token tree: each token looks at its ancestors and itself, and at nothing else.

Registered with transformers as the attention implementation `token_tree`; the pack's nodes travel to it as a keyword
argument of the forward call. A dense L x L mask would cost every pair of tokens, and the fused CPU kernel reaches a
quarter of the matrix product's speed under a mask; here a block of queries meets only the keys on its own path, as two
plain matrix products, and the backward pass computes the weights again instead of keeping them (Dao et al.,
2205.14135): memory grows with L, not with L x L. Equal to the masked form: the tests compare the two.
Run on CPUs only so far.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from flywheel.training.collate import Node, Span

NAME = "token_tree"
QUERIES = 256  # a block's most queries: half of what a causal block computes beyond its last query's sight is wasted


class Block(NamedTuple):
    """Queries `start` to `end` of a pack, the spans of all keys that any of them sees, and what each must not see.

    Attributes:
        keys: spans in path order; the queries themselves come last.
        hidden: (queries, columns) added to the scores of the last `columns` keys: 0, or -inf where a key is hidden.
    """

    start: int
    end: int
    keys: tuple[Span, ...]
    hidden: torch.Tensor


def register() -> None:
    """Make `attn_implementation="token_tree"` known; safe to call twice."""
    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """The nodes say what may be seen; no mask is built."""


def tree_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    *, scaling: float | None = None, nodes: Sequence[Node] | None = None, sliding_window: int | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention output (1, L, heads, head size) of one pack.

    Args:
        query: (1, heads, L, head size); key, value: (1, key heads, L, head size).
        nodes: the pack's tree; without it the whole is one causal sequence.
        sliding_window: how many tokens of its path a token sees, itself included; all without it.
    """
    del module, attention_mask
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    tree = nodes or (Node(0, query.shape[2], ()),)
    blocks = tuple(blocks_of(tree, sliding_window, value))
    output = _TreeAttention.apply(query[0].to(value.dtype) * scale, key[0].to(value.dtype), value[0], blocks)
    return output.transpose(0, 1)[None], None  # pyright: ignore[reportOptionalMemberAccess]


def blocks_of(nodes: Sequence[Node], window: int | None, like: torch.Tensor) -> Iterator[Block]:
    """The blocks of a tree; masks come in the type and on the device of `like`."""
    for node in nodes:
        above = sum(end - start for start, end in node.ancestors)
        for start in range(node.start, node.end, QUERIES):
            end = min(start + QUERIES, node.end)
            depth = above + start - node.start  # of the first query
            out_of_sight = max(0, depth + 1 - window) if window else 0
            keys = _without_first((*node.ancestors, (node.start, end)), out_of_sight)
            columns = end - start if not window else depth + end - start - out_of_sight
            hidden = torch.full((end - start, columns), float("-inf"), dtype=like.dtype, device=like.device)
            allowed = columns - (end - start)  # keys before the first query itself, among the masked columns
            hidden = hidden.triu(1 + allowed)
            if window:
                behind = torch.full_like(hidden, float("-inf")).tril(allowed - window)
                hidden = hidden + behind
            yield Block(start, end, keys, hidden)


def _without_first(spans: tuple[Span, ...], count: int) -> tuple[Span, ...]:
    """Spans without the first `count` tokens they hold, touching neighbours joined."""
    kept: list[Span] = []
    for start, end in spans:
        skipped = min(count, end - start)
        count -= skipped
        if skipped == end - start:
            continue
        if kept and kept[-1][1] == start + skipped:
            kept[-1] = (kept[-1][0], end)
        else:
            kept.append((start + skipped, end))
    return tuple(kept)


class _TreeAttention(torch.autograd.Function):
    """query (heads, L, size), already scaled; key, value (key heads, L, size) -> (heads, L, size).

    Query heads that share a key head are rows of one matrix product.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocks: Sequence[Block]
    ) -> torch.Tensor:
        output = torch.empty_like(query)
        for block in blocks:
            weights = _weights(_queries(query, key, block), _gather(key, block), block)
            output[:, block.start : block.end] = torch.bmm(weights, _gather(value, block)).view(
                query.shape[0], -1, query.shape[2]
            )
        ctx.save_for_backward(query, key, value, output)
        ctx.blocks = blocks
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        query, key, value, output = ctx.saved_tensors
        query_gradient = torch.empty_like(query)
        # Many blocks add to the same key: summed in float32 at least.
        summed = torch.promote_types(key.dtype, torch.float32)
        key_gradient, value_gradient = torch.zeros_like(key, dtype=summed), torch.zeros_like(value, dtype=summed)
        for block in ctx.blocks:
            keys, values, queries = _gather(key, block), _gather(value, block), _queries(query, key, block)
            upstream, mean = _queries(gradient, key, block), _queries(gradient * output, key, block)
            weights = _weights(queries, keys, block)
            _add(value_gradient, block, torch.bmm(weights.transpose(1, 2), upstream))
            scores = torch.bmm(upstream, values.transpose(1, 2))
            scores.sub_(mean.sum(-1, keepdim=True)).mul_(weights)
            query_gradient[:, block.start : block.end] = torch.bmm(scores, keys).view(
                query.shape[0], -1, query.shape[2]
            )
            _add(key_gradient, block, torch.bmm(scores.transpose(1, 2), queries))
        return query_gradient, key_gradient.to(key.dtype), value_gradient.to(value.dtype), None


def _queries(tensor: torch.Tensor, key: torch.Tensor, block: Block) -> torch.Tensor:
    """(heads, L, size) -> (key heads, heads of one key head x queries, size)."""
    return tensor[:, block.start : block.end].reshape(key.shape[0], -1, tensor.shape[2])


def _weights(queries: torch.Tensor, keys: torch.Tensor, block: Block) -> torch.Tensor:
    """(key heads, heads x queries, keys) softmax of the scores of one block."""
    scores = torch.bmm(queries, keys.transpose(1, 2))
    rows, columns = block.hidden.shape
    scores.view(scores.shape[0], -1, rows, scores.shape[2])[..., scores.shape[2] - columns :] += block.hidden
    return scores.softmax(-1)


def _gather(tensor: torch.Tensor, block: Block) -> torch.Tensor:
    """(key heads, keys of the block, size)."""
    parts = [tensor[:, start:end] for start, end in block.keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _add(total: torch.Tensor, block: Block, part: torch.Tensor) -> None:
    """Add a block's gradient to the spans its keys came from."""
    for span, piece in zip(block.keys, part.split([end - start for start, end in block.keys], dim=1), strict=True):
        total[:, span[0] : span[1]] += piece
