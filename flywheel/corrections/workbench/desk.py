"""What the pages act on: the event store, the items of the open batch, and the board that follows the log.

Every change is one event, appended after the last event the page had seen and committed before the answer. A lock keeps
the writers of this process in line (SQLite would make them sleep and try again); other processes are told apart by the
store itself.
"""

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flywheel.corrections.erasing import erased_items
from flywheel.corrections.events import LEASE, Batch, EventStore, batch_id
from flywheel.corrections.items import Item, batch_items
from flywheel.corrections.lots import close_lot, settle_lot
from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.corrections.skills import Matching, matching_of, tagged
from flywheel.corrections.states import HELD, OPEN, Event
from flywheel.corrections.workbench.board import Board, Place
from flywheel.corrections.workbench.grades import Grades
from flywheel.corrections.workbench.lot import lot_of
from flywheel.corrections.workbench.rules import Refusal
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack

if TYPE_CHECKING:
    from flywheel.lake import Lake

_SWEEP = timedelta(seconds=30)


class Desk:
    """One workflow's open batch, as the workbench serves it.

    Args:
        week: Monday of the batch to serve; None serves the oldest open one, else the newest.
    """

    correspondence: Any = None  # questions to the house: on a partner's bench alone

    def __init__(self, store: EventStore, grades: Grades, lake: "Lake", pack: Pack, *, week: str | None = None) -> None:
        self.store, self.grades, self.lake, self.pack = store, grades, lake, pack
        self._week = week
        self._lock = threading.RLock()
        self._swept = datetime.min.replace(tzinfo=UTC)
        self.batch: Batch | None = None
        self.items: dict[str, Item] = {}
        self.matching = Matching({}, None)
        self.board = Board("", {})
        self.last_cluster: dict[str, str] = {}
        self.last_refusal: dict[str, str] = {}
        self._given_back: dict[str, set[str]] = {}
        self._choose()

    def refresh(self) -> Board:
        """Read what was appended since; everything a page shows or decides on goes through here."""
        with self._lock:
            news = self.store.since(self.board.seen)
            if any(entry.event.kind in ("open", "plant") for entry in news) or (
                self.board.closed and self._week is None
            ):
                self._choose()
                news = self.store.since(self.board.seen)
            self.board.follow(news)
            self._settle()
            return self.board

    def nobody(self) -> list[tuple[str, int]]:
        """(tags, items) of open items that nobody in the pack has the skills for."""
        return self.matching.nobody(place.item_id for place in self.board.with_status(*OPEN))

    def item(self, item_id: str) -> Item:
        """The item; raises Refusal W07."""
        found = self.items.get(item_id)
        if found is None:
            raise Refusal("W07", item_id[:80])
        return found

    def place(self, item_id: str) -> Place:
        """Where it stands; raises Refusal W07."""
        self.item(item_id)
        return self.board.places[item_id]

    def append(self, item_id: str, kind: Any, actor: str, *, after: int, **payload: Any) -> Place:
        """Add one event to an item; raises Refusal saying which rule forbids it, and then nothing was written."""
        with self._lock:
            board = self.refresh()
            place = self.place(item_id)
            if board.closed:
                raise Refusal("W08")
            if place.sequence != after:
                raise Refusal("W03", remedy=_what_happened(place))
            try:
                self.store.append(board.batch, Event(item_id, kind, actor, payload), after=after)
            except FlywheelError as error:
                raise _as_refusal(error) from None
            except UnicodeError:
                raise Refusal("W18", "the run holds text that is no Unicode and cannot be kept") from None
            return self.refresh().places[item_id]

    def take_next(self, actor: str, role: str, event: str) -> str | None:
        """Give somebody the next item of a role, with a claim where it is not theirs yet; None when nothing is left."""
        with self._lock:
            board = self.refresh()
            while (
                item_id := board.next_for(
                    actor, role, cluster=self.last_cluster.get(actor, ""), last=self._given_back.get(actor, ())
                )
            ) is not None:
                place = board.places[item_id]
                if place.holder() != actor:
                    try:
                        self.append(item_id, event, actor, after=place.sequence)
                    except Refusal as refused:
                        if refused.code not in ("W03", "W06", "W07"):
                            raise
                        if refused.code != "W03":
                            place.closed_to.add((actor, role))
                        continue
                if role == "annotator":
                    self.last_cluster[actor] = place.cluster
                return item_id
            return None

    def submit(self, item_id: str, actor: str, proposal: Proposal | None, *, after: int, **payload: Any) -> Place:
        """Submit a correction (or `unfixable=reason`) and let the automatic check speak; both are events of their own.

        Raises Refusal W05 with the first problem when it is not valid: then nothing was written.
        """
        item = self.item(item_id)
        if proposal is not None:
            problems = auto_check(proposal, item.messages, item.tools, item.responses)
            if problems:
                raise Refusal("W05", problems[0])
            payload = {**proposal.payload(), **payload}
        with self._lock:
            place = self.place(item_id)
            if place.holder() != actor:
                raise Refusal("W02" if place.roles.get(actor) == "annotator" else "W03", remedy=_what_happened(place))
            kind = "edit" if place.state.status == "adjudicating" else "submit"
            self.append(item_id, kind, actor, after=after, **payload)
            return self.board.places[item_id]

    def give_back(self, item_id: str, actor: str, *, after: int) -> None:
        """Leave an item to others; it is offered to the same person again only when nothing else is left."""
        self.append(item_id, "give_back", actor, after=after, reason="given back")
        self._given_back.setdefault(actor, set()).add(item_id)

    def report_privacy(self, item_id: str, actor: str, note: str, *, after: int) -> None:
        """Keep an item with personal data away from everybody until somebody has looked after it."""
        with self._lock:
            self.append(item_id, "report_privacy", actor, after=after, note=note)

    def close(self, actor: str) -> None:
        """Close the batch; raises Refusal W17 while people still work on it."""
        with self._lock:
            board = self.refresh()
            if board.done() < len(board.places):
                raise Refusal("W17", f"{len(board.places) - board.done()} items are not decided")
            if waiting := lot_of(self.store, board).waiting:
                raise Refusal("W17", f"{len(waiting)} drawn items wait for the audit")
            self.store.close_batch(board.batch, by=actor)
            self.refresh()

    def _choose(self) -> None:
        """Choose the batch to serve, and read its items when it is another one than before, or when items were planted or erased."""
        batches = [batch for batch in self.store.batches() if batch.workflow == self.pack.name]
        weeks = [self._week] if self._week else sorted({batch.week for batch in batches})
        live = [batch for week in weeks if (batch := self.store.batch_of(week, self.pack.name))]
        chosen = next((batch for batch in live if not batch.closed), live[-1] if live else None)
        if chosen is None:
            self.board.seen = 0
            return
        name = batch_id(chosen.week, chosen.workflow, chosen.version)
        self.batch = chosen
        planted = {item_id for _, item_id, _ in self.store.planted(name)}
        gone = erased_items(self.store, name)
        if name != self.board.batch or planted - set(self.board.places) or gone & set(self.board.places):
            found = self._items_of(chosen)
            self.items = {key: item._replace(responses=self.pack.responses) for key, item in found.items()}
            self.matching = matching_of(self.items, self.pack.settings.skills)
            places = {key: (item.position, item.failure_cluster) for key, item in self.items.items()}
            self.board = Board(name, places, self.matching.fits if self.matching.people is not None else None)

    def _items_of(self, batch: Batch) -> dict[str, Item]:
        return tagged(batch_items(self.lake, batch, self.store), self.pack.settings.skills)

    def _settle(self) -> None:
        """What the system owes the log: the check of a submission, and the end of leases nobody renewed."""
        if self.board.closed:
            return
        for place in self.board.with_status("submitted"):
            state = place.state.proposal or {}
            problems: list[str] = []
            if not state.get("unfixable"):
                proposal = Proposal(state["first_bad_message_index"], state["messages"], state["trainable_indices"], state["suffix_mode"])  # fmt: skip
                item = self.items[place.item_id]
                problems = auto_check(proposal, item.messages, item.tools, item.responses)
            self._say(place, Event(place.item_id, "check", "system", {"problems": problems}))
        self._settle_lot()
        now = datetime.now(UTC)
        if now - self._swept < _SWEEP:
            return
        self._swept = now
        if any(_older(place.last_at, now) for place in self.board.with_status(*HELD)):
            self.store.expire_leases(
                self.board.batch, now=now
            )  # looks at drafts as well: a lease runs from the last input
            self.board.follow(self.store.since(self.board.seen))

    def _settle_lot(self) -> None:
        """A batch without open items is a closed lot; one whose drawn items failed goes back to other reviewers."""
        board = self.board
        complete = bool(board.places) and board.done() == len(board.places)
        if not complete or (board.lot_closed and lot_of(self.store, board).status != "failed"):
            return
        try:
            if board.lot_closed:
                settle_lot(self.store, board.batch)
            else:
                close_lot(self.store, board.batch, quality=self.pack.settings.quality)
        except FlywheelError:
            pass  # another process was faster
        board.follow(self.store.since(board.seen))

    def _say(self, place: Place, event: Event) -> None:
        try:
            self.store.append(self.board.batch, event, after=place.sequence)
        except FlywheelError:
            pass  # another process was faster; the log, read next, says how it stands
        self.board.follow(self.store.since(self.board.seen))


def _older(moment: str, now: datetime) -> bool:
    return not moment or now - datetime.fromisoformat(moment) > LEASE


def _what_happened(place: Place) -> str:
    last = place.trail[-1] if place.trail else None
    told = f" (last: {last.kind.replace('_', ' ')} at {last.at[11:16]} UTC)" if last else ""
    return f"it is {place.state.status.replace('_', ' ')} now{told}; open it again, or take the next one; your draft is kept"


def _as_refusal(error: FlywheelError) -> Refusal:
    what = error.what
    code = "W08" if "closed" in what else "W03" if "moved on" in what else "W18"
    if any(said in what for said in ("cannot be its", "reviewed", "is not for", "wrote this")):
        code = "W06"
    if "was erased" in what:
        code = "W07"
    if "needs a note" in what:
        code = "W12"
    return Refusal(code, what, remedy=error.remedy)
