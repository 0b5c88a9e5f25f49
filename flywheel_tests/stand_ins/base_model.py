"""A base model folder that is whole by every check and holds no model: a tokenizer, a configuration and a few numbers as weights."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from flywheel.chat.families import find_family
from flywheel.training.tiny_tokenizer import train_tokenizer
from flywheel.workflows.base_model import BaseModel, find_base_model, weights_sha256, write_manifest


def make_base_model(models: Path, corpus: Path, name: str = "tiny-random") -> BaseModel:
    """Write it below `models` as the installer would; `corpus` is the pack its tokenizer is trained on."""
    partial = models / ".partial-stand-in"
    partial.mkdir(parents=True)
    tokenizer = train_tokenizer(corpus, find_family("chatml_hermes").special_tokens)
    tokenizer.save(str(partial / "tokenizer.json"))
    config = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 4096, "architectures": ["LlamaForCausalLM"]}  # fmt: skip
    (partial / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({"stand_in": np.arange(4, dtype=np.float32)}, partial / "model.safetensors")
    sha256 = weights_sha256(partial)
    write_manifest(partial, sha256=sha256, source="stand-in")
    partial.rename(models / f"{name}-{sha256[:12]}")
    return find_base_model(models, name)
