"""The finished adapter on disk: plain LoRA, canonical config, content-addressed folder."""

import hashlib
import json
import os
import shutil
from pathlib import Path

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def export_adapter(trained: Path, output: Path, base_model_name: str) -> tuple[str, Path]:
    """Copy an adapter that PEFT saved into its place below `output`; returns its id and folder.

    The id is the hash of the adapter's files, so the same weights give the same folder and vLLM's prefix cache, which
    is keyed by name and path, can never serve a stale one. The folder appears whole or not at all.
    """
    partial = output / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ADAPTER_FILES:
        shutil.copyfile(trained / name, partial / name)
    canonical_config(partial / "adapter_config.json", base_model_name)
    adapter_id = f"adapter-{adapter_sha256(partial)[:16]}"
    final = output / adapter_id
    if final.exists():
        shutil.rmtree(partial)
    else:
        partial.rename(final)
    return adapter_id, final


def canonical_config(file: Path, base_model_name: str) -> None:
    """Rewrite an adapter config so that equal adapters have equal bytes: PEFT leaves a set's order and a path in it."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model_name
    config["target_modules"] = sorted(config["target_modules"])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def adapter_sha256(folder: Path) -> str:
    """Hash of an adapter's config and weights."""
    digest = hashlib.sha256()
    for name in ADAPTER_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
