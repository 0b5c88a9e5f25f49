"""The board: where every item of a batch stands, in memory, kept by following the event log.

A projection, never the truth: each event is folded once, when it is read, so that queues, counts and the next item cost
microseconds with ten thousand open items. What an event changes is the state machine's to say; the board only indexes.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

from flywheel.corrections import states
from flywheel.corrections.events import Recorded
from flywheel.corrections.states import HELD, OPEN, Event, ItemState

# status -> what a person of which role may take from there
TAKEN_FROM = {"annotator": "queued", "reviewer": "auto_checked", "adjudicator": "disputed"}
_KINDS = get_args(states.Kind)


class Step(NamedTuple):
    """One thing that happened to an item, without its payload's messages."""

    kind: str
    actor: str
    at: str
    words: str
    effort: dict[str, int]


@dataclass
class Place:
    """One item on the board.

    Attributes:
        sequence: of its last event; what a page must have seen to change it.
        roles: everybody who ever acted on it, and as what; the store holds the same as a constraint.
        closed_to: (actor, role) pairs that the store refused for a reason of its own: asked once, not again.
    """

    item_id: str
    position: int
    cluster: str
    state: ItemState = field(default_factory=ItemState)
    sequence: int = 0
    last_at: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    trail: list[Step] = field(default_factory=list)
    closed_to: set[tuple[str, str]] = field(default_factory=set)
    reported: bool = False

    def holder(self) -> str | None:
        """Who works on it now."""
        attribute = HELD.get(self.state.status)
        return getattr(self.state, attribute) if attribute else None


class Board:
    """All items of one batch.

    Args:
        batch: its id in the store.
        items: item id -> (position, failure cluster).
        fits: (item id, person) -> whether they have the skills it asks for; None asks nobody.
    """

    def __init__(
        self, batch: str, items: Mapping[str, tuple[int, str]], fits: Callable[[str, str], bool] | None = None
    ) -> None:
        self.batch, self._fits = batch, fits
        self.places = {key: Place(key, position, cluster) for key, (position, cluster) in items.items()}
        self.closed = False
        self.lots = 0
        self.lot_closed = False
        self.seen = 0
        self._by_status: dict[str, list[tuple[int, str]]] = {}
        self._queued: dict[str, list[tuple[int, str]]] = {}
        self._held: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for place in self.places.values():
            self._enter(place)

    def follow(self, recorded: Iterable[Recorded]) -> None:
        """Fold events that were not seen before, in the log's order; events of other batches only advance the place."""
        for entry in recorded:
            self.seen = max(self.seen, entry.sequence)
            if entry.batch == self.batch:
                self._fold(entry.sequence, entry.event)

    def next_for(self, actor: str, role: str, *, cluster: str = "", last: Container[str] = ()) -> str | None:
        """The item somebody should work on now: their own unfinished one, else one of the same cluster, else the first.

        Never one on which they have another role; None when there is none left for them.

        Args:
            last: items to offer only when there is nothing else: those they gave back.
        """
        held = self._held.get((actor, role))
        if held:
            return held[0][1]
        status = TAKEN_FROM[role]
        same = self._queued.get(cluster, []) if role == "annotator" else []
        waiting = self._by_status.get(status, [])
        for line, again in ((same, False), (waiting, False), (waiting, True)):
            free = (key for _, key in line if self._may_take(self.places[key], actor, role))
            found = next((key for key in free if (key in last) == again), None)
            if found:
                return found
        return None

    def counts(self) -> dict[str, int]:
        """Items by status; only statuses that occur."""
        return {status: len(line) for status, line in self._by_status.items() if line}

    def waiting(self, status: str, actor: str) -> int:
        """Items in a status that ask for nothing the person does not have."""
        line = self._by_status.get(status, [])
        return len(line) if self._fits is None else sum(self._fits(key, actor) for _, key in line)

    def done(self) -> int:
        """Items nobody has to touch again."""
        return len(self.places) - sum(len(self._by_status.get(status, [])) for status in OPEN)

    def ahead(self, place: Place) -> int:
        """1-based place of an item among the queued ones and itself."""
        return bisect_left(self._by_status.get("queued", []), (place.position, place.item_id)) + 1

    def with_status(self, *statuses: str) -> list[Place]:
        """The items in these statuses, by position."""
        return [self.places[key] for status in statuses for _, key in self._by_status.get(status, [])]

    def similar(self, cluster: str) -> list[Place]:
        """The queued items of a failure cluster, by position."""
        return [self.places[key] for _, key in self._queued.get(cluster, [])]

    def work_by_person(self) -> dict[str, Counter[str]]:
        """Actor -> how often they did what; the system and what it did are left out."""
        done: dict[str, Counter[str]] = {}
        for step in self.steps():
            if step.actor != "system":
                done.setdefault(step.actor, Counter())[step.kind] += 1
        return done

    def steps(self) -> Iterator[Step]:
        """Everything that happened, item by item."""
        return (step for place in self.places.values() for step in place.trail)

    def _may_take(self, place: Place, actor: str, role: str) -> bool:
        if place.reported or place.roles.get(actor, role) != role or (actor, role) in place.closed_to:
            return False
        if actor in place.state.barred or (self._fits is not None and not self._fits(place.item_id, actor)):
            return False
        return not (role == "reviewer" and actor in place.state.reviewers)

    def _fold(self, sequence: int, event: Event) -> None:
        if not event.item_id:
            self.closed = self.closed or event.kind == "close"
            if event.kind in ("close_lot", "reopen_lot"):
                self.lot_closed = event.kind == "close_lot"
                self.lots += self.lot_closed
            return
        place = self.places.get(event.item_id)
        if place is None:
            return
        self._leave(place)
        if event.kind in _KINDS and "erased" not in event.payload:
            role = states.role_of(place.state, event)
            if role != "system":
                place.roles.setdefault(event.actor, role)
            place.state = states.apply(place.state, event)
        place.reported = place.reported or event.kind == "report_privacy"
        place.sequence, place.last_at = sequence, event.at
        place.trail.append(_step(event))
        self._enter(place)

    def _enter(self, place: Place) -> None:
        for line in self._lines(place):
            insort(line, (place.position, place.item_id))

    def _leave(self, place: Place) -> None:
        for line in self._lines(place):
            del line[bisect_left(line, (place.position, place.item_id))]

    def _lines(self, place: Place) -> list[list[tuple[int, str]]]:
        status = place.state.status
        lines = [self._by_status.setdefault(status, [])]
        if status == "queued":
            lines.append(self._queued.setdefault(place.cluster, []))
        if holder := place.holder():
            lines.append(self._held.setdefault((holder, HELD[status]), []))
        return lines


def _step(event: Event) -> Step:
    payload = event.payload
    words = payload.get("reason") or payload.get("note") or payload.get("unfixable") or payload.get("verdict") or ""
    effort = payload.get("effort")
    kept = {key: value for key, value in effort.items() if isinstance(value, int)} if isinstance(effort, dict) else {}
    return Step(str(event.kind), event.actor, event.at, str(words), kept)
