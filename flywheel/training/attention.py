"""Attention over a pack without its dense mask: each segment looks at the shared prefix and at itself, and at nothing else.

A pack of length L under a 4D mask costs L x L per head, although a segment of length s with prefix P needs s x (P + s)
only. Registered with transformers as the attention implementation `shared_prefix`; the segments' bounds travel to it
as a keyword argument of the forward call. Equal to the masked form: the tests compare the two.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

NAME = "shared_prefix"


def register() -> None:
    """Make `attn_implementation="shared_prefix"` known; safe to call twice."""
    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """The bounds say what may be seen; no mask is built."""


def shared_prefix_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None,
    *, scaling: float | None = None, bounds: tuple[int, ...] | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention output (1, L, heads, head size) of one pack.

    Args:
        query: (1, heads, L, head size); key, value: (1, key heads, L, head size).
        bounds: end of the prefix, then end of every segment; without it the whole is one causal sequence.
    """
    del attention_mask
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    ends = bounds or (query.shape[2],)
    sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
    # One split each, not a slice a segment: the gradient of a slice is a whole tensor of zeros around it.
    queries, keys, values = (tensor.split(sizes, dim=2) for tensor in (query, key, value))
    parts = (
        [scaled_dot_product_attention(queries[0], keys[0], values[0], is_causal=True, scale=scaling)]
        if sizes[0]
        else []
    )
    for size, own_query, own_key, own_value in zip(sizes[1:], queries[1:], keys[1:], values[1:], strict=True):
        visible = torch.ones(size, sizes[0] + size, dtype=torch.bool).tril(sizes[0])
        together = (torch.cat([keys[0], own_key], dim=2), torch.cat([values[0], own_value], dim=2))
        parts.append(scaled_dot_product_attention(own_query, *together, attn_mask=visible, scale=scaling))
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None
