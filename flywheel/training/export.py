"""The finished adapter on disk: plain LoRA, canonical config, content-addressed folder, whole or not there. No torch here.

What goes here: writing it. What does not: opening it and what vLLM can serve (`flywheel.serving.adapters`), merging it
into the base model (`merge.py`).
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from flywheel.errors import FlywheelError
from flywheel.serving.adapters import ADAPTER_FILES, MANIFEST, adapter_sha256, refuse_unservable, rename, weight_names


def export_adapter(
    trained: Path, output: Path, base_model_name: str, *, renames: Mapping[str, str] | None = None
) -> tuple[str, Path]:
    """Copy an adapter that PEFT saved into its place below `output`; returns its id and folder.

    The id is the hash of the adapter's files, so the same weights give the same folder and vLLM's prefix cache, which
    is keyed by name and path, can never serve a stale one. The folder appears whole or not at all.

    Args:
        base_model_name: `<name>-<first 12 of its hash>`; whoever loads the adapter compares it.
        renames: prefix of the weight names as trained -> as the served architecture calls it, e.g.
            {"model.": "model.language_model."} where vLLM serves a text model inside a vision model.

    Raises FlywheelError when vLLM could not serve the adapter, or it could not be written.
    """
    with writing(output, "adapter") as partial:
        for name in ADAPTER_FILES:  # nothing else: a trainer leaves pickles beside them
            shutil.copyfile(trained / name, partial / name)
        config = canonical_config(partial / ADAPTER_FILES[0], base_model_name)
        refuse_unservable(config, weight_names(partial), where=str(output))
        if renames:
            _rename_weights(partial / ADAPTER_FILES[1], renames)
        sha256 = adapter_sha256(partial)
        manifest = {"sha256": sha256, "base_model": base_model_name, "renamed": dict(renames or {})}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return adopt(partial, output / f"adapter-{sha256[:16]}")


def canonical_config(file: Path, base_model_name: str) -> dict[str, Any]:
    """Rewrite an adapter config so that equal adapters have equal bytes: PEFT leaves a set's order and a path in it.

    Modules are named one by one, also where training chose them by a regular expression.
    """
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model_name
    config["target_modules"] = sorted({name.split(".lora_")[0].split(".")[-1] for name in weight_names(file.parent)})
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return config


def _rename_weights(file: Path, renames: Mapping[str, str]) -> None:
    """Rename tensors in a safetensors file: 8 bytes of length, a JSON header by name, then the data, which stays."""
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    renamed = {name if name == "__metadata__" else rename(name, renames): value for name, value in header.items()}
    text = json.dumps(renamed).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


@contextmanager
def writing(output: Path, what: str) -> Iterator[Path]:
    """A folder to write into, gone at the end whatever happens; what a killed process left behind is removed first."""
    partial = output / f".partial-{os.getpid()}"
    try:
        with disk_errors(what, output):
            output.mkdir(parents=True, exist_ok=True)
            for stale in output.glob(".partial-*"):
                if stale == partial or not Path("/proc", stale.name.rsplit("-", 1)[1]).exists():
                    shutil.rmtree(stale)
            partial.mkdir()
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def disk_errors(what: str, where: Path) -> Iterator[None]:
    """Turn what a full or broken disk raises into an error that names the remedy."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise FlywheelError(
            f"the {what} could not be written: {error}", where=str(where),
            remedy="free some disk space (flywheel doctor shows how much there is), then run the same again; nothing was kept",
        ) from error  # fmt: skip


def adopt(partial: Path, final: Path) -> tuple[str, Path]:
    """Give a finished folder its name; one of that name that is whole already is kept, one that is not is replaced."""
    if not (final / MANIFEST).is_file():
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    return final.name, final
