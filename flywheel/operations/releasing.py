"""One act of release from beginning to end: the log, the pointer file, the hook, and Dagster's `served_model`.

The order is by what matters: once the log has the act it stands, and what follows is made good by running the command again.
"""

from typing import NamedTuple

import dagster as dg

from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.launch import instance
from flywheel.partitions import partition_key
from flywheel.promotion.announce import announce
from flywheel.promotion.hooks import untold
from flywheel.promotion.pointer import Kind
from flywheel.promotion.pointer_file import Pointer
from flywheel.promotion.releases import Release, Releases
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model
from flywheel.workflows.loader import find_pack


class Settled(NamedTuple):
    """What an act left: the pointer as written, what the hook answered, and what could not be done after it."""

    release: Release
    pointer: Pointer
    hook: str | None
    undone: list[str]


def releases(settings: Settings, workflow: str) -> Releases:
    """The acts of a workflow; raises FlywheelError when the pack or its base model is missing."""
    pack = find_pack(settings.workflows(), workflow)
    base = find_base_model(settings.models(), settings.base_model or pack.settings.base_model)
    return Releases(Lake(settings.lake()), settings, pack, base)


def again(acts: Releases, kind: Kind, *, by: str, reason: str) -> Release | None:
    """The newest act, when this is the same command once more and its hook was not told: nothing else is left to do."""
    move = untold(acts.pack, acts.log(), acts.lake.read_weeks("release_hooks", workflow=acts.pack.name))
    if move and (move["kind"], move["by"], move["reason"]) == (kind, by.strip(), reason.strip()):
        return Release(move, moved=False)
    return None


def settle(acts: Releases, release: Release) -> Settled:
    """Write the pointer file, tell the hook and Dagster; what fails here is reported and does not undo the act."""
    done = announce(acts.lake, acts.settings, acts.pack, acts.base)
    undone = [done.hook] if done.hook and not done.told else []
    if release.moved:
        try:
            _tell_dagster(acts.pack.name, release)
        except FlywheelError as error:
            undone.append(f"Dagster's served_model does not show it: {error}")
    return Settled(release, done.pointer, done.hook if done.told else None, undone)


def _tell_dagster(workflow: str, release: Release) -> None:
    """Materialize `served_model` of the newest decided week: next week's traces and evaluation depend on it."""
    entry = release.entry
    if not entry["week"]:
        return  # nothing was decided yet: there is no partition to show it in
    shown = ("kind", "by", "reason", "served_adapter_id", "previous_adapter_id", "entry_id")
    with instance() as on:
        on.report_runless_asset_event(
            dg.AssetMaterialization(
                "served_model", partition=partition_key(entry["week"], workflow), metadata={name: entry[name] for name in shown}
            )
        )  # fmt: skip
