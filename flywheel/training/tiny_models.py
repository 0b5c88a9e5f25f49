"""Tiny models with seeded random weights: one a family, of the family's real configuration class, for the edit-run cycle and the tests.

What makes a family's layers its own is kept (linear attention, sliding window, shared keys, partial rotation, layers without
positions), everything else is as small as it goes. They learn patterns and know nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma4TextConfig,
    GenerationConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3_5TextConfig,
    SmolLM3Config,
)

from flywheel.chat.families import Family
from flywheel.training.tiny_tokenizer import PADDING, train_tokenizer

_SIZE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "initializer_range": 0.05,
}


def _llama(common: Mapping[str, Any]) -> PreTrainedConfig:
    return LlamaConfig(**common, num_hidden_layers=2, num_key_value_heads=4)


def _qwen3_5(common: Mapping[str, Any]) -> PreTrainedConfig:
    """Three layers of gated delta rule, their heads at full size (vLLM's kernel wants 128), and one of full attention."""
    rope = {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.25,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
    }
    return Qwen3_5TextConfig(
        **common, num_hidden_layers=4, num_key_value_heads=2, head_dim=32, linear_num_key_heads=1,
        linear_num_value_heads=2, rope_parameters=rope,
    )  # fmt: skip


def _phi4_mini(common: Mapping[str, Any]) -> PreTrainedConfig:
    """Three quarters of each head rotated by longrope, and a window wider than any context."""
    factors = [1.0] * 12
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "partial_rotary_factor": 0.75,
        "short_factor": factors,
        "long_factor": factors,
    }
    return Phi3Config(
        **common, num_hidden_layers=2, num_key_value_heads=2, sliding_window=262_144, rope_parameters=rope,
        original_max_position_embeddings=4096,
    )  # fmt: skip


def _smollm3(common: Mapping[str, Any]) -> PreTrainedConfig:
    """Four layers, so that one is without positions."""
    return SmolLM3Config(**common, num_hidden_layers=4, num_key_value_heads=1)


def _gemma4(common: Mapping[str, Any]) -> PreTrainedConfig:
    """A window of 512 in four layers of five, embeddings a layer, and the last five layers on the keys of earlier ones."""
    wider: dict[str, Any] = {"global_head_dim": 64}  # heads of the layers that see everything
    return Gemma4TextConfig(
        **common, **wider, num_hidden_layers=10, num_key_value_heads=1, head_dim=32, sliding_window=512,
        layer_types=[*["sliding_attention"] * 4, "full_attention"] * 2, num_kv_shared_layers=5, use_double_wide_mlp=True,
        vocab_size_per_layer_input=common["vocab_size"], hidden_size_per_layer_input=16, final_logit_softcapping=30.0,
    )  # fmt: skip


def _mistral(common: Mapping[str, Any]) -> PreTrainedConfig:
    return MistralConfig(**common, num_hidden_layers=2, num_key_value_heads=2, sliding_window=None)


_CONFIGURATIONS: dict[str, Callable[[Mapping[str, Any]], PreTrainedConfig]] = {
    "chatml_hermes": _llama,
    "qwen3_5": _qwen3_5,
    "phi4_mini": _phi4_mini,
    "smollm3": _smollm3,
    "gemma4": _gemma4,
    "mistral": _mistral,
}


def save_tiny_model(family: Family, corpus: Path, folder: Path) -> None:
    """Write model and tokenizer of a family's tiny model into a folder."""
    tokenizer = train_tokenizer(corpus, family.special_tokens)
    ends = [tokenizer.token_to_id(token) for token in family.end_of_turn]
    first = family.special_tokens[0]
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=first,
        eos_token=family.end_of_turn[0],
        pad_token=PADDING,
        unk_token=PADDING,
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    # Padding is a token of its own, and not the end of turn: the embedding of the padding token is all zeros, and its tied
    # output could never be learned.
    ids = {
        "bos_token_id": tokenizer.token_to_id(first),
        "eos_token_id": ends[0],
        "pad_token_id": tokenizer.token_to_id(PADDING),
    }
    common = {**_SIZE, **ids, "vocab_size": -(-tokenizer.get_vocab_size() // 64) * 64}
    model = AutoModelForCausalLM.from_config(_CONFIGURATIONS[family.name](common))
    with torch.no_grad():
        # Embeddings are tied to the output and stay frozen under LoRA: at their initial size no logit could grow
        # large enough for a confident answer, whatever the adapter learns.
        model.get_input_embeddings().weight.mul_(4)
    torch.nn.Module.to(model, dtype=torch.bfloat16)
    model.generation_config = GenerationConfig(**{**ids, "eos_token_id": ends})
    model.save_pretrained(folder)
