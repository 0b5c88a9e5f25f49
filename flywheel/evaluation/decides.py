"""What decides the outcome of an evaluation: the part that decides what is generated, and the part that only judges it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.evaluation.scorers.score import SCORER_VERSION
from flywheel.serving.adapters import open_adapter
from flywheel.toolcalls.arguments import sha256_of
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack

# Raise this with every change of what is asked or kept: outputs of an older one are generated anew.
GENERATION_VERSION = "2"


class Decides(NamedTuple):
    """Equal `generation`: stored outputs may be scored again. Equal in both: there is nothing to do."""

    generation: dict[str, Any]
    scoring: dict[str, Any]

    @property
    def generation_sha256(self) -> str:
        """Hash of what decides the outputs; stands on every row."""
        return sha256_of(self.generation)


def what_decides(pack: Pack, renderer: Renderer, base: BaseModel, version: str, arms: Mapping[str, Any]) -> Decides:
    """All that decides results and metrics of one evaluation.

    Args:
        version: of the benchmark.
        arms: candidate, incumbent, and why an adapter could not be used.
    """
    own = pack.settings
    generation = {
        **arms, "runner": GENERATION_VERSION, "benchmark": version, "base": base.sha256, "template": renderer.template_sha256,
        "system": pack.system, "tools": pack.tools_sha256, "environment": pack.environment_sha256(),
        "decoding": own.decoding.model_dump(), "evaluation": own.evaluation.model_dump(exclude={"volatile_fields", "human_review", "review"}),
        "max_model_len": own.max_model_len,
    }  # fmt: skip
    scoring = {
        "scorer": SCORER_VERSION, "volatile_fields": own.evaluation.volatile_fields, "rates": own.rates,
        "tools": sha256_of(pack.tools),
    }  # fmt: skip
    if own.attach is not None:
        generation["attach"] = own.attach.model_dump(include={"url", "base"})
    if own.serving == "elsewhere":
        scoring["serving"] = own.serving  # nothing can be generated here: what was generated before is still scored
    return Decides(generation, scoring)


def unusable(folder: Path, adapters: Iterable[str], *, base_model: str) -> dict[str, str]:
    """Adapter -> why it cannot be served, for those of `folder` that cannot: gone, not whole, changed, or for another base model.

    For an incumbent that is a finding, which promotion reads as INVALID, and no reason to stop.
    """
    found: dict[str, str] = {}
    for adapter in sorted(adapters):
        try:
            open_adapter(folder / adapter, base_model=base_model)
        except FlywheelError as error:
            found[adapter] = error.what
    return found
