"""An adapter merged into its base model: `python -m flywheel.training.merge BASE_MODEL ADAPTER OUTPUT`.

For engines without LoRA, or to save its cost at decoding. The sum is made in float32 and rounded once to the base
model's type: rounding the adapter first loses small updates. Evaluate the merged model before serving it: its greedy
outputs differ from the attached adapter's.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import open_adapter
from flywheel.serving.reference import load_adapter
from flywheel.training.export import adopt, writing
from flywheel.workflows.base_model import weights_sha256, write_manifest

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                    "generation_config.json")  # fmt: skip


def merge_adapter(base_model: Path, adapter_folder: Path, output: Path) -> Path:
    """Write the merged model below `output` and return its folder, `merged-<hash>`; safetensors, manifest last.

    Raises FlywheelError when the adapter is not whole or belongs to another base model, or the disk is full.
    """
    adapter = open_adapter(adapter_folder, base_model=base_model.name)
    dtype: Any = AutoConfig.from_pretrained(base_model).dtype or torch.bfloat16
    model: Any = AutoModelForCausalLM.from_pretrained(base_model, use_safetensors=True, dtype=torch.float32)
    merged = load_adapter(model, adapter).merge_and_unload(safe_merge=True).to(dtype)
    with writing(output, "merged model") as partial:
        merged.save_pretrained(partial)
        for name in _TOKENIZER_FILES:
            if (base_model / name).is_file():
                shutil.copyfile(base_model / name, partial / name)
        sha256 = weights_sha256(partial)
        write_manifest(partial, sha256=sha256, source=f"{base_model.name} with {adapter.id} merged in float32")
        return adopt(partial, output / f"merged-{sha256[:16]}")[1]


def main() -> int:
    """Command line; exit code 2 for what a user can mend."""
    if len(sys.argv) != 4:
        print("usage: python -m flywheel.training.merge BASE_MODEL ADAPTER OUTPUT", file=sys.stderr)
        return 2
    try:
        print(merge_adapter(*(Path(argument) for argument in sys.argv[1:4])))
    except FlywheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
