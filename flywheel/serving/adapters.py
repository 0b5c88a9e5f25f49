"""An adapter on disk: is it whole, does it belong to this base model, and can vLLM serve it. No torch here.

An adapter folder holds `adapter_config.json`, `adapter_model.safetensors` and a `manifest.json` written last; its name is
the hash of the first two. Whoever loads one, to serve it, to measure it or to merge it, opens it here first.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.errors import FlywheelError

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
MANIFEST = "manifest.json"
# vllm/config/lora.py, 0.32: the values that --max-lora-rank takes. An adapter of rank 12 is served under 16.
SERVABLE_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# vllm/lora/peft_helper.py, 0.32: initialisations that leave the base model's weights alone.
_PLAIN_INITIALISATIONS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


class Adapter(NamedTuple):
    """A whole adapter.

    Attributes:
        id: name it is served under, the hash of its files.
        folder: where it lies.
        base_model: the base model it was trained on, `<name>-<first 12 of its hash>`.
        rank: largest rank among its modules.
        renamed: prefix of its weight names as trained -> as the served architecture calls it; empty where they agree.
    """

    id: str
    folder: Path
    base_model: str
    rank: int
    renamed: dict[str, str]


def open_adapter(folder: Path, *, base_model: str) -> Adapter:
    """The adapter in `folder`; raises FlywheelError when it is not whole, not plain LoRA, or made for another base model."""
    remedy = "rematerialize the checkpoint of the week that trained it: flywheel run --week W --workflow F --stage checkpoint"
    if not (folder / MANIFEST).is_file():
        what = "is not whole: its manifest, which is written last, is missing" if folder.is_dir() else "is missing"
        raise FlywheelError(f"adapter {folder.name} {what}", where=str(folder), remedy=remedy)
    strange = sorted(file.name for file in folder.iterdir() if file.name not in (*ADAPTER_FILES, MANIFEST))
    if strange:
        raise FlywheelError(
            f"adapter {folder.name} holds files that no export writes: {', '.join(strange)}", where=str(folder),
            remedy="find out who put them there, then delete them; nothing pickled is ever loaded",
        )  # fmt: skip
    try:
        manifest, sha256 = json.loads((folder / MANIFEST).read_text(encoding="utf-8")), adapter_sha256(folder)
        if manifest["sha256"] != sha256:
            raise FlywheelError(
                f"adapter {folder.name} was changed after it was exported", where=str(folder), remedy=remedy
            )
        config = json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
        made_for, rank, renamed = config["base_model_name_or_path"], rank_of(config), manifest["renamed"]
    except FileNotFoundError as error:
        what = f"adapter {folder.name} is not whole: {Path(error.filename).name} is missing"
        raise FlywheelError(what, where=str(folder), remedy=remedy) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"adapter {folder.name} cannot be read: {type(error).__name__} {error}"
        raise FlywheelError(what, where=str(folder), remedy=remedy) from None
    if made_for != base_model:
        raise FlywheelError(
            f"adapter {folder.name} was trained on {made_for}, and the base model is {base_model}",
            where=str(folder),
            remedy="serve it on the base model that it was trained on: keep that in the model cache (flywheel model list)",
        )
    refuse_unservable(config, weight_names(folder), where=str(folder))
    return Adapter(folder.name, folder, base_model, rank, renamed)


def refuse_unservable(config: Mapping[str, Any], names: Collection[str], *, where: str) -> None:
    """Raise FlywheelError with every reason for which vLLM could not serve an adapter as it was trained."""
    reasons = [*_config_reasons(config), *_weight_reasons(names)]
    if reasons:
        raise FlywheelError(
            f"vLLM cannot serve this adapter as it was trained: {'; '.join(reasons)}", where=where,
            remedy="train plain LoRA: no DoRA, no bias, no saved or embedding modules, no new tokens, the default initialisation",
        )  # fmt: skip


def _config_reasons(config: Mapping[str, Any]) -> list[str]:
    initialisation = config.get("init_lora_weights", True)
    found = {
        f"peft_type {config.get('peft_type')} is no LoRA": config.get("peft_type", "LORA") != "LORA",
        "DoRA scales the base model's own weights": config.get("use_dora"),
        f"modules_to_save ({config.get('modules_to_save')}) are whole layers": config.get("modules_to_save"),
        "it trains biases": config.get("bias", "none") != "none" or config.get("lora_bias"),
        f"init_lora_weights={initialisation} changes the base model's weights":
            isinstance(initialisation, str) and initialisation.lower() not in _PLAIN_INITIALISATIONS,
        "it adds tokens (trainable_token_indices)": config.get("trainable_token_indices"),
        "activated LoRA (alora_invocation_tokens)": config.get("alora_invocation_tokens"),
        "layer_replication changes the number of layers": config.get("layer_replication"),
        "block-diagonal LoRA (use_bdlora)": config.get("use_bdlora"),
        "QALoRA (use_qalora)": config.get("use_qalora"),
        f"rank {rank_of(config)} is above {SERVABLE_RANKS[-1]}": rank_of(config) > SERVABLE_RANKS[-1],
    }  # fmt: skip
    return [reason for reason, holds in found.items() if holds]


def _weight_reasons(names: Collection[str]) -> list[str]:
    """Embedding layers and whatever else is no LoRA pair; PEFT saves them by itself when the vocabulary has grown."""
    if not names:
        return ["it has no weights"]
    others = sorted(name for name in names if not name.endswith((".lora_A.weight", ".lora_B.weight")))
    embedding = sorted(name for name in names if "embed_tokens" in name or "lm_head" in name)
    reasons = [f"{len(others)} of its weights are no LoRA pair, {others[0]} first"] if others else []
    return [*reasons, f"it trains an embedding or output layer, {embedding[0]}"] if embedding else reasons


def rank_of(config: Mapping[str, Any]) -> int:
    """Largest rank an adapter's config gives any module."""
    return max(config["r"], *(config.get("rank_pattern") or {"": 0}).values())


def largest_rank(folders: Iterable[Path], *, least: int) -> int:
    """The largest rank among adapters on disk, and `least` at the least: an adapter keeps the rank it was trained with, whatever the pack
    says today. One whose config is gone or broken counts for nothing here; opening it says what is wrong."""
    ranks = [least]
    for folder in folders:
        try:
            ranks.append(rank_of(json.loads((folder / ADAPTER_FILES[0]).read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError):
            continue
    return max(ranks)


def servable_rank(rank: int) -> int:
    """The smallest `--max-lora-rank` that holds adapters of this rank."""
    return next(limit for limit in SERVABLE_RANKS if limit >= rank)


def adapter_sha256(folder: Path) -> str:
    """Hash of an adapter's config and weights."""
    digest = hashlib.sha256()
    for name in ADAPTER_FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def weight_names(folder: Path) -> list[str]:
    """Names of the tensors in an adapter, from the header of its safetensors file."""
    file = folder / ADAPTER_FILES[1]
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            return sorted(set(json.loads(opened.read(length))) - {"__metadata__"})
    except (OSError, ValueError) as error:
        raise FlywheelError(f"these are no safetensors weights: {error}", where=str(file),
                            remedy="export the adapter again: rematerialize checkpoint") from None  # fmt: skip


def rename(name: str, prefixes: Mapping[str, str]) -> str:
    """A weight's name with the first matching prefix replaced; PEFT's own `base_model.model.` stays in front."""
    peft = "base_model.model."
    inner = name.removeprefix(peft)
    for old, new in prefixes.items():
        if inner.startswith(old):
            return peft + new + inner[len(old) :]
    return name
