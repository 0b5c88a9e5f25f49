"""Base models: which there are, where they lie, and the command that makes one. No torch here.

A model lies in `models/<name>-<first 12 of its hash>/` with a `manifest.json` written last, so its existence means the
model is whole.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

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
    found = sorted(models.glob(f"{name}-*/manifest.json"))
    if len(found) > 1:
        raise FlywheelError(
            f"there are {len(found)} different base models named {name}: {', '.join(file.parent.name for file in found)}",
            where=str(models),
            remedy="keep the one that this installation's adapters were trained on and move the others out of the cache",
        )
    for manifest in found:
        values = json.loads(manifest.read_text(encoding="utf-8"))
        return BaseModel(name, manifest.parent.absolute(), values["sha256"], values["source"])
    if name not in KNOWN:
        raise FlywheelError(f"there is no base model {name!r}", where="workflow.yaml: base_model",
                            remedy=f"use one of: {', '.join(KNOWN)}")  # fmt: skip
    raise FlywheelError(f"base model {name} is not in the cache", where=str(models),
                        remedy=f"fetch it once: flywheel model {name}")  # fmt: skip


def check_weights(base: BaseModel) -> None:
    """Raise FlywheelError when a model's weights are not those its manifest was written for."""
    found = weights_sha256(base.folder)
    if found != base.sha256:
        raise FlywheelError(
            f"the weights of base model {base.name} were changed: hash {found[:12]}…, made with {base.sha256[:12]}…",
            where=str(base.folder), remedy=f"delete that folder and make it again: flywheel model {base.name}",
        )  # fmt: skip


def weights_sha256(folder: Path) -> str:
    """Hash over a model's safetensors files, in name order."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            while block := opened.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, *, sha256: str, source: str) -> None:
    """Declare a model whole; the last thing its maker does."""
    text = json.dumps({"sha256": sha256, "source": source}, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
