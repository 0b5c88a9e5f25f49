"""The CPU layers give what vLLM's own fallback gives, for few tokens and for many, and nothing to rows without an adapter."""

import pytest
import torch

from flywheel.serving.cpu_lora import FEW_ROWS, Adapters, by_adapter

WIDTHS = (10, 6)


def layer(kind: torch.dtype = torch.float32) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(0)
    down = [torch.randn(2, 1, 4, 12, dtype=kind) for _ in WIDTHS]
    return down, [torch.randn(2, 1, width, 4, dtype=kind) for width in WIDTHS]


def gathered(
    inputs: torch.Tensor, down: list[torch.Tensor], up: list[torch.Tensor], slots: list[int], scale: float
) -> torch.Tensor:
    """The fallback's own arithmetic: one weight copy a token; -1 is no adapter."""
    found = torch.zeros(len(slots), sum(WIDTHS))
    for token, slot in enumerate(slots):
        if slot >= 0:
            parts = [
                scale * inputs[token].float() @ a[slot, 0].float().T @ b[slot, 0].float().T
                for a, b in zip(down, up, strict=True)
            ]
            found[token] = torch.cat(parts)
    return found


@pytest.mark.parametrize("times", [1, FEW_ROWS])
@pytest.mark.parametrize("slots", [[0] * 6, [1] * 6, [0, 1, 0, 1, 1, 0], [-1, 0, -1, 1, 1, 1], [-1] * 6])
def test_a_layer_adds_the_gathered_product(slots: list[int], times: int):
    slots = slots * times
    (down, up), inputs = layer(), torch.randn(len(slots), 12)
    adapters = Adapters([1, 2])
    adapters.groups = by_adapter(torch.tensor(slots))
    output = torch.ones(len(slots), sum(WIDTHS))
    adapters.add(output, inputs, down, up, 0.5, WIDTHS)
    assert torch.allclose(output, 1 + gathered(inputs, down, up, slots, 0.5), atol=1e-5)


@pytest.mark.parametrize("tokens", [3, FEW_ROWS + 1])
def test_bfloat16_stays_bfloat16_and_differs_by_its_rounding_alone(tokens: int):
    (down, up), inputs = layer(torch.bfloat16), torch.randn(tokens, 12, dtype=torch.bfloat16)
    adapters = Adapters([1, 2])
    adapters.groups = by_adapter(torch.zeros(tokens, dtype=torch.long))
    output = torch.zeros(tokens, sum(WIDTHS), dtype=torch.bfloat16)
    adapters.add(output, inputs, down, up, 1.0, WIDTHS)
    wanted = gathered(inputs, down, up, [0] * tokens, 1.0)
    assert output.dtype == torch.bfloat16 and ((output.float() - wanted).abs() <= 0.02 * wanted.abs().max()).all()


def test_a_batch_with_one_adapter_gathers_nothing():
    assert [(group.slot, group.rows) for group in by_adapter(torch.tensor([1, 1, 1]))] == [(1, slice(0, 3))]
    assert by_adapter(torch.tensor([-1, -1])) == []
