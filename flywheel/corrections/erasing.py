"""Erasure in the store: which items are a person's, told by what is kept in the store itself, and which were erased.

The lake knows only the rows that stand in it now. Items that were planted in a batch which another version replaced are in no
table any more; their payloads hold the run all the same.
"""

import json
from collections.abc import Collection
from typing import Any

from flywheel.corrections.events import EventStore
from flywheel.corrections.tables import ERASED


def items_of(
    store: EventStore, *, principal_ref: str, trace_ids: Collection[str], conversation_ids: Collection[str],
    context_ids: Collection[str] = (),
) -> set[str]:  # fmt: skip
    """Ids of items whose planted payload holds a person's run, and of the items these were planted from; erased ones left out.

    Args:
        principal_ref, trace_ids, conversation_ids: the person, their runs and conversations.
        context_ids: contexts of conflicts that an answer from their runs is part of (`dataset_conflicts`).
    """
    mine, values = "kind = 'plant' AND payload <> ?", [ERASED]
    if store.workflow is not None:
        mine, values = f"{mine} AND workflow = ?", [ERASED, store.workflow]
    with store.database.read() as connection:
        rows = connection.execute(f"SELECT item_id, payload FROM events WHERE {mine}", values).fetchall()
    found: set[str] = set()
    for item_id, text in rows:
        payload: dict[str, Any] = json.loads(text)
        item = payload.get("item") or {}
        theirs = item.get("principal_ref") == principal_ref or item.get("trace_id") in trace_ids
        theirs |= item.get("conversation_id") in conversation_ids
        theirs |= any(answer.get("context_id") in context_ids for answer in payload.get("answers") or ())
        if theirs:
            found |= {item_id, payload.get("source") or item_id}
    return found


def erased_items(store: EventStore, batch: str) -> set[str]:
    """Ids of the batch's items, planted ones among them, whose person was erased: the opening still lists them, and nobody has them any more."""
    asked = "SELECT DISTINCT item_id FROM events WHERE batch = ? AND item_id <> '' AND payload = ?"
    with store.database.read() as connection:
        return {row[0] for row in connection.execute(asked, (batch, ERASED)).fetchall()}
