"""The CPU kernels give what vLLM's own fallback gives, and nothing to rows without an adapter."""

import pytest
import torch

from flywheel.serving import cpu_lora


def gathered(inputs: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The fallback's own arithmetic: one weight copy a token."""
    return torch.einsum("bi,boi->bo", inputs.float(), weights.squeeze(1)[indices].float())


@pytest.mark.parametrize("indices", [[0] * 6, [1] * 6, [0, 1, 0, 1, 1, 0]])
def test_shrink_and_expand_equal_the_gathered_product(indices: list[int]):
    torch.manual_seed(0)
    inputs, at = torch.randn(6, 12), torch.tensor(indices)
    down, up = torch.randn(2, 1, 4, 12), torch.randn(2, 1, 10, 4)
    shrunk = torch.zeros(6, 4)
    cpu_lora.bgmv_shrink(inputs, down, shrunk, at, 0.5)
    assert torch.allclose(shrunk, 0.5 * gathered(inputs, down, at), atol=1e-5)
    output = torch.ones(6, 16)
    cpu_lora.bgmv_expand_slice(shrunk, up, output, at, 3, 10, True)
    expected = torch.ones(6, 16)
    expected[:, 3:13] += gathered(shrunk, up, at)
    assert torch.allclose(output, expected, atol=1e-5)


def test_rows_without_an_adapter_get_nothing():
    inputs, at = torch.randn(3, 4), torch.tensor([-1, 0, -1])
    output = torch.zeros(3, 2)
    cpu_lora.bgmv_expand(inputs, torch.randn(1, 1, 2, 4), output, at, True)
    assert output[0].abs().sum() == 0 and output[2].abs().sum() == 0 and output[1].abs().sum() > 0
