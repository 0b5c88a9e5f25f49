"""A vLLM plugin: LoRA on CPU in a few matrix products a layer.

vLLM's torch fallback (`vllm/lora/punica_wrapper/punica_cpu.py` and `lora_ops.py`, 0.32) copies the adapter's weights once for every
token in the batch before multiplying, asks anew in each of some four hundred calls a step which tokens belong to which adapter, and
multiplies a handful of tokens in bfloat16, where every product costs 30 microseconds before it begins (9 in float32). Here the tokens
are sorted by adapter once a step, all tokens of one adapter share one product, and small batches multiply in float32 with weights
converted once. Embedding and output layer, for which our adapters have nothing, are left out; the fallback copies an empty vocabulary
for every token. Rows without an adapter get nothing; the fallback reads their index -1 as the last adapter.

vLLM finds this through the entry point `vllm.general_plugins`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

# Up to so many rows float32. Measured at width 576, rank 16, two cores with bfloat16 matrix units: at 16 rows float32 is faster, at 400
# bfloat16; where between them they meet was not measured.
FEW_ROWS = 64


def register() -> None:
    """Replace the fallback's linear layers; called by vLLM in each of its processes. Does nothing off the CPU."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    update = PunicaWrapperCPU.update_metadata

    def update_metadata(self: Any, mapping: Any, lora_index_to_id: list[int | None], *rest: Any, **named: Any) -> None:
        update(self, mapping, lora_index_to_id, *rest, **named)
        adapters = getattr(self, "flywheel_adapters", None)
        if adapters is None or adapters.loaded != lora_index_to_id:
            adapters = self.flywheel_adapters = Adapters(list(lora_index_to_id))
        adapters.groups = by_adapter(self.token_lora_indices)

    def add_lora_linear(
        self: Any, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor], scale: float, output_slices: Sequence[int], **_: Any,
    ) -> None:  # fmt: skip
        self.flywheel_adapters.add(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices)

    embedding, logits = PunicaWrapperCPU.add_lora_embedding, PunicaWrapperCPU.add_lora_logits

    def add_lora_embedding(
        self: Any, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, *rest: Any, **named: Any
    ) -> None:
        if self.flywheel_adapters.has_weights(lora_b_stacked):
            embedding(self, y, x, lora_b_stacked, *rest, **named)

    def add_lora_logits(
        self: Any, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, *rest: Any,
        **named: Any,
    ) -> None:  # fmt: skip
        if self.flywheel_adapters.has_weights(lora_b_stacked):
            logits(self, y, x, lora_a_stacked, lora_b_stacked, *rest, **named)

    PunicaWrapperCPU.update_metadata = update_metadata
    PunicaWrapperCPU.add_lora_embedding = add_lora_embedding
    PunicaWrapperCPU.add_lora_logits = add_lora_logits
    PunicaWrapperCPU.add_lora_linear = add_lora_linear  # pyright: ignore[reportAttributeAccessIssue]


class Group(NamedTuple):
    """The tokens of one adapter in a batch: its slot and its rows, all of them as a slice."""

    slot: int
    rows: torch.Tensor | slice
    count: int


class Adapters:
    """The adapters in vLLM's slots, and which tokens of the running step are theirs.

    Args:
        loaded: adapter id of each slot; another list means other weights in the slots, and another object of this class.
    """

    def __init__(self, loaded: Sequence[int | None]) -> None:
        self.loaded = list(loaded)
        self.groups: list[Group] = []
        self._float32: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self._weighty: dict[int, bool] = {}

    def has_weights(self, stacked: torch.Tensor) -> bool:
        """Whether any adapter in the slots has anything for a layer: most have nothing for embedding and output, and cost most there."""
        place = stacked.data_ptr()
        if place not in self._weighty:
            self._weighty[place] = bool(stacked.any())
        return self._weighty[place]

    def add(
        self, output: torch.Tensor, inputs: torch.Tensor, down: Sequence[torch.Tensor], up: Sequence[torch.Tensor],
        scale: float, widths: Sequence[int],
    ) -> None:  # fmt: skip
        """`output[:, slice] += scale * inputs @ down[slice].T @ up[slice].T` for each token by its own adapter, in place.

        Shapes: output (..., sum of widths), inputs (..., in), down (slots, 1, r, in) and up (slots, 1, width, r) of each slice.
        """
        output, inputs = output.view(-1, output.shape[-1]), inputs.view(-1, inputs.shape[-1])
        for slot, rows, count in self.groups:
            given = inputs[rows].float() if count <= FEW_ROWS else inputs[rows]
            start = 0
            for one, other, width in zip(down, up, widths, strict=True):
                if count <= FEW_ROWS:
                    first, second = self._transposed(one, other, slot, scale)
                    change = (given @ first) @ second
                else:
                    change = torch.nn.functional.linear(given, one[slot, 0]).mul_(scale)
                    change = torch.nn.functional.linear(change, other[slot, 0])
                if isinstance(rows, slice):
                    output[rows, start : start + width] += change
                else:
                    output[rows, start : start + width] = (output[rows, start : start + width] + change).to(
                        output.dtype
                    )
                start += width

    def _transposed(
        self, down: torch.Tensor, up: torch.Tensor, slot: int, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(in, r) scaled and (r, width) in float32, converted at their first use."""
        key = (down.data_ptr(), slot)
        if key not in self._float32:
            self._float32[key] = (
                (down[slot, 0].float() * scale).T.contiguous(), up[slot, 0].float().T.contiguous(),
            )  # fmt: skip
        return self._float32[key]


def by_adapter(indices: torch.Tensor) -> list[Group]:
    """Each adapter in the batch with its tokens, by the slot of each token (-1: none); one that has all needs no gathering."""
    slots = indices.unique().tolist()
    if len(slots) == 1 and slots[0] >= 0:
        return [Group(slots[0], slice(0, indices.shape[0]), indices.shape[0])]
    rows = {slot: (indices == slot).nonzero()[:, 0] for slot in slots if slot >= 0}
    return [Group(slot, found, found.shape[0]) for slot, found in rows.items()]
