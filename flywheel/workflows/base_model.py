"""Base models: which there are, where they lie, and the command that makes one. No torch here.

A model lies in `models/<name>-<first 12 of its hash>/` with a `manifest.json` written last, so its existence means the
model is whole.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.chat.families import FAMILIES
from flywheel.errors import FlywheelError

KNOWN = ("smollm2-135m-instruct", *(family.tiny_model for family in FAMILIES.values()))


@dataclass(frozen=True)
class BaseModel:
    """One base model on disk: its name, folder, hash of its weights and where they came from."""

    name: str
    folder: Path
    sha256: str
    source: str

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer both the renderer and the server use."""
        return self.folder / "tokenizer.json"


def find_base_model(models: Path, name: str) -> BaseModel:
    """The model in the cache; raises FlywheelError naming the command that makes it."""
    found = [model for model in cached_models(models) if model.name == name]
    if len(found) > 1:
        raise FlywheelError(
            f"there are {len(found)} different base models named {name}: {', '.join(model.folder.name for model in found)}",
            where=str(models),
            remedy="keep the one that this installation's adapters were trained on and move the others out of the cache",
        )
    if found:
        return found[0]
    if name not in KNOWN:
        raise FlywheelError(f"there is no base model {name!r}", where="workflow.yaml: base_model",
                            remedy=f"use one of: {', '.join(KNOWN)}; or bring your own: flywheel model add FOLDER --name {name}")  # fmt: skip
    raise FlywheelError(f"base model {name} is not in the cache", where=str(models),
                        remedy=f"fetch it once: flywheel model add {name}")  # fmt: skip


def cached_models(models: Path) -> list[BaseModel]:
    """Every whole model in the cache, by folder name: NAME-HASH with a manifest."""
    found = []
    for manifest in sorted(models.glob("*/manifest.json")):
        name, _, digest = manifest.parent.name.rpartition("-")
        if name and re.fullmatch("[0-9a-f]{12}", digest):
            values = read_json(manifest)
            if not isinstance(values.get("sha256"), str) or not isinstance(values.get("source"), str):
                raise _damaged(manifest, "it names no sha256 and source")
            found.append(BaseModel(name, manifest.parent.absolute(), values["sha256"], values["source"]))
    return found


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file of a model; raises FlywheelError where there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)[:200]) from None
    if not isinstance(value, dict):
        raise _damaged(file, "it is no JSON object")
    return value


def _damaged(file: Path, problem: str) -> FlywheelError:
    return FlywheelError(f"{file.name} of a base model cannot be read: {problem}", where=str(file),
                         remedy="delete that model's folder and add it again: flywheel model add")  # fmt: skip


def check_weights(base: BaseModel) -> None:
    """Raise FlywheelError when a model's weights are not those its manifest was written for."""
    found = weights_sha256(base.folder)
    if found != base.sha256:
        raise FlywheelError(
            f"the weights of base model {base.name} were changed: hash {found[:12]}…, made with {base.sha256[:12]}…",
            where=str(base.folder), remedy=f"delete that folder and add it again: flywheel model add {base.name if base.name in KNOWN else base.source}",
        )  # fmt: skip


def weights_sha256(folder: Path) -> str:
    """Hash over a model's safetensors files, in name order."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            while block := opened.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, *, sha256: str, source: str, **more: Any) -> None:
    """Declare a model whole; the last thing its maker does. `more` is what else is known: family, architecture, licence."""
    text = json.dumps({"sha256": sha256, "source": source, **more}, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
