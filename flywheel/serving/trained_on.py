"""What an adapter was trained on. A workflow may change its base model or family: what serves then stays on its own until it is replaced.

The checkpoint's row holds the hashes of base model and template; the model cache and the families are looked through for them.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flywheel.chat.families import FAMILIES, find_family
from flywheel.chat.render import Renderer
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.serving.vllm_server import BASE
from flywheel.workflows.base_model import BaseModel, cached_models
from flywheel.workflows.pack import Pack


class TrainedOn(NamedTuple):
    """The pack under the family that an adapter was trained in, and its base model; the rest of the pack is today's."""

    pack: Pack
    base: BaseModel

    @property
    def kind(self) -> tuple[str, str]:
        """What two adapters must share to answer from one server: base model and family."""
        return self.base.sha256, self.pack.settings.model_family

    def renderer(self) -> Renderer:
        """Renders as it was trained."""
        return Renderer(self.base.tokenizer_file, self.pack.settings.model_family)


def trained_on(lake: Lake, pack: Pack, base: BaseModel, models: Path, adapter_id: str) -> TrainedOn:
    """What an adapter was trained on: today's pack and base, unless its checkpoint says otherwise.

    A template that was edited since, under the same base, is today's. `base` is today's base model.

    Args:
        pack, base: as they are today.
        models: cache of base models.

    Raises FlywheelError when the base model that it was trained on is gone, or no family has its template any more.
    """
    today = TrainedOn(pack, base)
    if adapter_id == BASE:
        return today
    rows = lake.read_columns(
        "checkpoint", ("week", "base_model_sha256", "chat_template_sha256"), workflow=pack.name,
        where=pl.col("adapter_id") == adapter_id,
    ).sort("week")  # fmt: skip
    if not rows.height:
        return today
    _, base_sha256, template_sha256 = rows.row(-1)
    if base_sha256 is None:
        return today
    if template_sha256 == find_family(pack.settings.model_family).template_sha256 and base_sha256 == base.sha256:
        return today
    own = next((name for name, family in FAMILIES.items() if family.template_sha256 == template_sha256), None)
    if base_sha256 == base.sha256:
        return today if own is None else TrainedOn(_in_family(pack, own), base)
    found = next((model for model in cached_models(models) if model.sha256 == base_sha256), None)
    if found is None:
        raise FlywheelError(
            f"the base model that {adapter_id} was trained on is not in the cache any more (hash {base_sha256[:12]}…)", where=str(models),
            remedy="put its folder back, or add it again: flywheel model add FOLDER; its weights decide, not its name",
        )  # fmt: skip
    if own is None:
        raise FlywheelError(
            f"no model family has the template that {adapter_id} was trained with (hash {template_sha256[:12]}…)", where="flywheel/chat/families.py",
            remedy="go back to the version that trained it, or let another adapter serve: flywheel promote --override",
        )  # fmt: skip
    return TrainedOn(_in_family(pack, own), found)


def trained_on_each(
    lake: Lake, pack: Pack, base: BaseModel, models: Path, adapters: Iterable[str]
) -> tuple[dict[str, TrainedOn], dict[str, str]]:
    """What each adapter was trained on; and, of those that nobody can say it of, why, with today's base in its place."""
    on: dict[str, TrainedOn] = {}
    lost: dict[str, str] = {}
    for adapter in sorted(set(adapters)):
        try:
            on[adapter] = trained_on(lake, pack, base, models, adapter)
        except FlywheelError as error:
            on[adapter], lost[adapter] = TrainedOn(pack, base), error.what
    return on, lost


def _in_family(pack: Pack, family: str) -> Pack:
    return replace(pack, settings=pack.settings.model_copy(update={"model_family": family}))
