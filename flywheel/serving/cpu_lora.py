"""A vLLM plugin: LoRA on CPU as matrix products instead of one gathered weight copy a token.

vLLM's torch fallback (`vllm/lora/ops/torch_ops/lora_ops.py`, 0.32) copies the adapter's weights once for every token in
the batch before multiplying, which makes an adapter several times slower than its base model. All tokens of one adapter
can share one product. The same fallback also reads index -1 (no adapter) as the last adapter in a batch that mixes base
and adapter requests; here those rows get nothing. vLLM finds this through the entry point `vllm.general_plugins`.
"""

from collections.abc import Iterator

import torch


def register() -> None:
    """Replace the fallback's three kernels; called by vLLM in each of its processes. Does nothing off the CPU."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for kernel in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
        setattr(lora_ops, kernel.__name__, kernel)  # the prefill kernels look these up here
        setattr(punica_cpu, kernel.__name__, kernel)


def bgmv_shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0
) -> None:
    """`output[t, :r] = scaling * inputs[t] @ weights[indices[t]].T` for T tokens, in the output's type.

    Shapes: inputs (T, in), weights (slots, [1,] r, in), output (T, >= r), indices (T,) with -1 for no adapter.
    """
    width = weights.shape[-2]
    for adapter, rows in _by_adapter(indices):
        weight = _matrix(weights, adapter).to(output.dtype)
        output[rows, :width] = scaling * (inputs[rows].to(output.dtype) @ weight.T)


def bgmv_expand(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, add_inputs: bool = True
) -> None:
    """`output[t] (+)= inputs[t] @ weights[indices[t]].T`; weights (slots, [1,] out, r). The shorter width counts."""
    bgmv_expand_slice(inputs, weights, output, indices, 0, min(weights.shape[-2], output.shape[1]), add_inputs)


def bgmv_expand_slice(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, slice_offset: int,
    slice_size: int, add_inputs: bool = True,
) -> None:  # fmt: skip
    """The same into the columns `slice_offset` to `slice_offset + slice_size` of the output."""
    columns = slice(slice_offset, slice_offset + slice_size)
    for adapter, rows in _by_adapter(indices):
        weight = _matrix(weights, adapter)[:slice_size].to(output.dtype)
        product = inputs[rows].to(output.dtype) @ weight.T
        output[rows, columns] = output[rows, columns] + product if add_inputs else product


def _matrix(weights: torch.Tensor, adapter: int) -> torch.Tensor:
    matrix = weights[adapter]
    return matrix.squeeze(0) if matrix.dim() == 3 else matrix


def _by_adapter(indices: torch.Tensor) -> Iterator[tuple[int, torch.Tensor | slice]]:
    """Each adapter in the batch with its rows; a batch of one adapter needs no gathering at all."""
    adapters = indices.unique().tolist()
    for adapter in adapters:
        if adapter >= 0:
            yield adapter, slice(0, indices.shape[0]) if len(adapters) == 1 else (indices == adapter).nonzero()[:, 0]
