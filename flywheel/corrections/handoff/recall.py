"""Recalls: which handed-out batches hold items that must be given back, as where their person was erased, and what the store does then."""

from collections.abc import Collection
from typing import NamedTuple

from flywheel.corrections.erasing import erased_items
from flywheel.corrections.events import EventStore
from flywheel.corrections.handoff.export import exported_hashes
from flywheel.corrections.states import WITHDRAWALS, Event


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


def withdrawn(store: EventStore, batch: str, item_ids: Collection[str], reason: str, by: str) -> int:
    """Withdraw what of the items was accepted already, and return how many; a mere mistake in the hand-out withdraws nothing, and of what was erased nothing is left to withdraw."""
    there = set(item_ids) - erased_items(store, batch)
    accepted = [
        item_id for item_id in item_ids
        if item_id in there and store.state(item_id, batch).status in ("accepted", "released")
    ]  # fmt: skip
    for item_id in accepted if reason in WITHDRAWALS else ():
        store.append(batch, Event(item_id, "withdraw", by, {"reason": reason}))
    return len(accepted) if reason in WITHDRAWALS else 0
