"""What the tests of the store share: a proposal, and an item's way through three people."""

from typing import Any

from flywheel.corrections.events import EventStore
from flywheel.corrections.states import Event

FIX: dict[str, Any] = {
    "first_bad_message_index": 1,
    "messages": [],
    "trainable_indices": [1],
    "suffix_mode": "truncated",
}
CLEAN = ("check", "system", {"problems": []})


def play(store: EventStore, batch: str, item_id: str, *steps: tuple) -> None:
    """Append (kind, actor, payload) steps to one item."""
    for step in steps:
        store.append(batch, Event(item_id, step[0], step[1], step[2] if len(step) > 2 else {}))


def accept(
    store: EventStore, batch: str, item_id: str, annotator: str = "ann", reviewer: str = "rob", fix: Any = None
) -> None:
    """Annotate, review, accept."""
    steps = (
        ("claim", annotator),
        ("submit", annotator, fix or FIX),
        CLEAN,
        ("start_review", reviewer),
        ("accept", reviewer),
    )
    play(store, batch, item_id, *steps)
