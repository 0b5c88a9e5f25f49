"""For every family's real layers: a token tree gives the gradient of rows alone, or the family is refused.

In float64, where rounding cannot hide or imitate a mistake (what stays is the float32 inside rotations and norms). In float32
Gemma's tiny model, with gradients of a norm of thousands, differs by 9e-6 between tree and rows alone, and by 1.7e-5 between two
of transformers' own attention implementations.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from flywheel.chat.families import FAMILIES, Family
from flywheel.training import attention
from flywheel.training.collate import Row, pack
from flywheel.training.forward import target_log_probabilities
from flywheel.training.packing import refusal
from flywheel.training.tiny_models import save_tiny_model
from flywheel_tests.conftest import SUPPORT_DESK

STEM = [3 + n % 90 for n in range(540)]  # longer than Gemma's window of 512
ROWS = [Row([*STEM, 40, 41], [50, 2]), Row([*STEM, 40, 41, 50, 2, 45], [54, 2]), Row([*STEM[:300], 42], [51, 60, 2]), Row([*STEM, 40, 41], [50, 3])]  # fmt: skip


def gradient(model: torch.nn.Module, packs: list) -> torch.Tensor:
    model.zero_grad()
    for each in packs:
        (-target_log_probabilities(model, each).sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_tree_gives_the_gradient_of_rows_alone_or_is_refused(family: Family, tmp_path: Path):
    save_tiny_model(family, SUPPORT_DESK, tmp_path)
    refused = refusal(json.loads((tmp_path / "config.json").read_text()), 600)
    if refused:
        assert family.attention == "linear" and "one row a pass" in refused
        return
    attention.register()
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="sdpa")
    apart = gradient(model, [pack([row]) for row in ROWS])
    model.set_attn_implementation(attention.NAME)
    packed = pack(ROWS)
    assert packed.input_ids.shape[1] < 0.35 * sum(len(row.prompt_ids) + len(row.target_ids) for row in ROWS)
    together = gradient(model, [packed])
    assert (together - apart).norm() / apart.norm() < 1e-6
