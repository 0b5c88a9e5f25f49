"""The audit of a lot: which accepted items a fourth person looks at again, once nobody works on any of them.

One function stands between the pages and how a lot is closed and drawn, so that the store's own `close_lot` replaces it
in one place.
"""

from typing import NamedTuple

from flywheel.corrections.audit import draw, operating_curve, sample_size
from flywheel.corrections.workbench.board import OPEN, Board, Place


class Lot(NamedTuple):
    """The state of a lot.

    Attributes:
        closed: nobody works on any item of the batch: only then is the sample drawn.
        drawn: the drawn items, those already looked at included.
        accepted: how many the sample was drawn from.
    """

    closed: bool
    drawn: list[Place]
    accepted: int

    @property
    def waiting(self) -> list[Place]:
        """Drawn items nobody has looked at."""
        return [place for place in self.drawn if place.state.audit is None]

    @property
    def failed(self) -> list[Place]:
        """Drawn items that failed."""
        return [place for place in self.drawn if place.state.audit == "failed"]

    def curve(self) -> dict[float, float]:
        """Share of bad items -> probability that the audit lets the lot pass."""
        return operating_curve(self.accepted, len(self.drawn)) if self.accepted else {}


def lot_of(board: Board) -> Lot:
    """The lot of a batch; empty and open while any item is still with people."""
    open_items = sum(place.state.status in OPEN and not place.reported for place in board.places.values())
    if open_items > 0 and not board.lot_closed:
        return Lot(False, [], 0)
    members = {key: place for key, place in board.places.items() if place.state.audit is not None or place.state.status == "accepted"}  # fmt: skip
    reopened = max((sum(step.kind == "reopen" for step in place.trail) for place in members.values()), default=0)
    # After a failed lot was sent back, the next draw is among what was looked at again.
    if reopened:
        members = {key: place for key, place in members.items() if _reopenings(place) == reopened}
    keys = draw(list(members), sample_size(len(members)), lot_id=f"{board.batch}|{reopened}") if members else []
    return Lot(True, [members[key] for key in keys], len(members))


def _reopenings(place: Place) -> int:
    return sum(step.kind == "reopen" for step in place.trail)
