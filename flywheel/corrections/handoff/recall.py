"""Recalls: which handed-out batches hold items that must be given back, because their person was erased."""

from collections.abc import Collection
from typing import NamedTuple

from flywheel.corrections.events import EventStore
from flywheel.corrections.handoff.export import exported_hashes


class Recall(NamedTuple):
    """One batch that left the house: its id, the hashes of its manifests, and the items a partner has to delete."""

    batch: str
    manifests: list[str]
    item_ids: list[str]


def recalls(store: EventStore, item_ids: Collection[str]) -> list[Recall]:
    """The exported batches that hold any of the items, or what was planted from one."""
    found = []
    for batch in store.batches():
        manifests = sorted(exported_hashes(store, batch.name))
        planted = {item_id for _, item_id, payload in store.planted(batch.name) if payload["source"] in item_ids}
        theirs = sorted((set(batch.item_ids) & set(item_ids)) | planted)
        if manifests and theirs:
            found.append(Recall(batch.name, manifests, theirs))
    return found
