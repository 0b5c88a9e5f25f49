"""What follows a decision or an act: the pointer file, the model card, and the hook. Done again, it does what was left undone."""

import shutil
from typing import NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.promotion.bundle import Bundle, Contents, make_bundle
from flywheel.promotion.comparison import evaluated_in
from flywheel.promotion.hooks import sentence, tell, untold
from flywheel.promotion.model_card import model_card, write_card
from flywheel.promotion.pointer_file import Pointer, write_pointer
from flywheel.serving.trained_on import trained_on, trained_on_each
from flywheel.settings import Settings
from flywheel.workflows.base_model import BaseModel
from flywheel.workflows.pack import Pack
from flywheel.workflows.serving_settings import is_endpoint


class Announced(NamedTuple):
    """The pointer as written; the hook that was told, and whether it worked: None where there was nothing to tell."""

    pointer: Pointer
    hook: str | None
    told: bool | None


def announce(lake: Lake, settings: Settings, pack: Pack, base: BaseModel) -> Announced:
    """Write the pointer file for the log as it is, and the card of what serves; tell the hook, unless it was told."""
    log, pointer = _pointed(lake, settings, pack, base)
    on, _ = trained_on_each(lake, pack, base, settings.models(), {pointer.adapter_id})
    write_card(settings, lake, *on[pointer.adapter_id], pointer.adapter_id)
    move = untold(pack, log, lake.read_weeks("release_hooks", workflow=pack.name))
    if move is None:
        return Announced(pointer, None, None)
    row = tell(lake, settings, pack, move, _packed(lake, settings, pack, base, pointer.adapter_id))
    return Announced(pointer, sentence(row), row["succeeded"])


def _pointed(lake: Lake, settings: Settings, pack: Pack, base: BaseModel) -> tuple[pl.DataFrame, Pointer]:
    """Write the pointer file; once more where somebody moved meanwhile: of two that write, the last must have read the newest log."""
    while True:
        log = lake.read_weeks("promotion_log", workflow=pack.name)
        pointer = write_pointer(settings, pack, base, log, evaluated_in(lake, pack.name, log))
        if lake.read_weeks("promotion_log", workflow=pack.name).height == log.height:
            return log, pointer


def _packed(
    lake: Lake, settings: Settings, pack: Pack, base: BaseModel, adapter_id: str
) -> Bundle | FlywheelError | None:
    """The bundle of what serves, under its digest below FLYWHEEL_HOME/bundles; or why there is none. None of an endpoint."""
    if is_endpoint(adapter_id):
        return None
    folder = settings.bundles(pack.name)
    fresh = folder / "new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        pack, base = trained_on(lake, pack, base, settings.models(), adapter_id)
        card = model_card(lake, pack, base, adapter_id, with_log=False)
        made = make_bundle(settings, pack, base, Contents(adapter_id, card=card), fresh)
    except FlywheelError as error:
        return error
    final = folder.absolute() / f"bundle-{made.sha256[:16]}"
    shutil.rmtree(final, ignore_errors=True)
    made.folder.rename(final)
    return made._replace(folder=final)
