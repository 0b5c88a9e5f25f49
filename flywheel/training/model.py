"""The base model as training loads it, its rows' tokens shared as a tree where its layers allow that."""

import json
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from flywheel.training import attention
from flywheel.training.packing import refusal
from flywheel.training.spec import TrainSpec


def load_base(spec: TrainSpec, longest: int) -> tuple[Any, str]:
    """The model, and "tree" or the sentence that says why rows of this model cannot share tokens.

    Args:
        longest: tokens of the longest row.
    """
    torch.set_num_threads(spec.threads)
    refused = refusal(json.loads((spec.base_model / "config.json").read_text(encoding="utf-8")), longest)
    attention.register()
    model = AutoModelForCausalLM.from_pretrained(
        spec.base_model,
        use_safetensors=True,
        dtype=getattr(torch, spec.dtype),
        attn_implementation="sdpa" if refused else attention.NAME,
    )
    return model, refused or "tree"
