"""Base models: which there are, where they lie, and the command that makes one. No torch here.

A model lies in `models/<name>-<first 12 of its hash>/` with a `manifest.json` written last, so its existence means the
model is whole.
"""

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
    for manifest in sorted(models.glob(f"{name}-*/manifest.json")):
        values = json.loads(manifest.read_text(encoding="utf-8"))
        return BaseModel(name, manifest.parent.absolute(), values["sha256"], values["source"])
    if name not in KNOWN:
        raise FlywheelError(f"there is no base model {name!r}", where="workflow.yaml: base_model",
                            remedy=f"use one of: {', '.join(KNOWN)}")  # fmt: skip
    raise FlywheelError(f"base model {name} is not in the cache", where=str(models),
                        remedy=f"fetch it once: flywheel model {name}")  # fmt: skip


def write_manifest(folder: Path, *, sha256: str, source: str) -> None:
    """Declare a model whole; the last thing its maker does."""
    text = json.dumps({"sha256": sha256, "source": source}, indent=2)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
