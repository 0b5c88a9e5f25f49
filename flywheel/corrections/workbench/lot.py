"""The lot of the batch as the pages show it: what was drawn, what waits for the audit, and who may look at it.

Closing, drawing and sending back are `corrections.lots`' to do; here its answer is joined with the board.
"""

from typing import Any, NamedTuple

from flywheel.corrections import lots
from flywheel.corrections.events import EventStore
from flywheel.corrections.workbench.board import Board, Place


class Lot(NamedTuple):
    """The state of a lot.

    Attributes:
        status: open, auditing, passed, failed, sent_back or refused.
        drawn, waiting, failed: the drawn items, those nobody has looked at yet, and those that failed.
        accepted: how many the sample was drawn from; plan: the sampling plan, with its operating curve.
    """

    status: str
    drawn: list[Place]
    waiting: list[Place]
    failed: list[Place]
    accepted: int
    plan: dict[str, Any]

    @property
    def closed(self) -> bool:
        """Whether the sample is drawn; before, nobody may audit."""
        return self.status not in ("open", "sent_back")

    def curve(self) -> dict[str, float]:
        """Share of bad items -> probability that the audit lets the lot pass."""
        return self.plan.get("chance_of_acceptance_by_share_of_bad_items", {})


def for_auditor(store: EventStore, board: Board, lot: Lot, name: str) -> list[Place]:
    """The waiting items that somebody may look at: those they had no other part in, and that they are not barred from.

    Whoever annotated an item's twin, or gave one of a conflict's answers, would judge it by their own answer.
    """
    closed = store.not_for(board.batch, name)["auditor"] if lot.waiting else set()
    return [place for place in lot.waiting if place.item_id not in closed]


def lot_of(store: EventStore, board: Board) -> Lot:
    """The lot of the board's batch; open and empty while items are still with people."""
    if not board.lots:  # spares the store a question that most pages would ask for nothing
        return Lot("open", [], [], [], 0, {})
    found = lots.lot_of(store, board.batch)
    drawn = [board.places[key] for key in found.drawn if key in board.places]
    waiting = [place for place in drawn if place.item_id in set(found.waiting)]
    failed = [place for place in drawn if place.item_id in found.failed]
    return Lot(found.status, drawn, waiting, failed, len(found.items), found.plan)
