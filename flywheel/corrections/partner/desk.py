"""The desk of a partner's bench: the workbench's own, over the items of the batch, with the house's judge at each submission.

What the house would refuse is refused here, while its author still has it open. Lots and audits stay the house's.
"""

from datetime import UTC, datetime
from typing import Any

from flywheel.corrections.events import Batch
from flywheel.corrections.handoff.verify.correction import judge_correction, judge_work
from flywheel.corrections.handoff.verify.personal import added, masked, texts_of
from flywheel.corrections.items import Item
from flywheel.corrections.partner.asking import Asking
from flywheel.corrections.partner.opened import Opened
from flywheel.corrections.partner.rows import Written, answer_row
from flywheel.corrections.proposal import Proposal
from flywheel.corrections.states import OPEN, Event
from flywheel.corrections.workbench.board import Place
from flywheel.corrections.workbench.desk import Desk
from flywheel.corrections.workbench.rules import Refusal


class PartnerDesk(Desk):
    """The desk over an opened batch."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        nothing: Any = None  # no page that is served here reads a lake or grades outputs
        self.correspondence = Asking(opened)
        super().__init__(opened.store, nothing, nothing, opened.pack, week=opened.batch.week)

    def submit(self, item_id: str, actor: str, proposal: Proposal | None, *, after: int, **payload: Any) -> Place:
        """Submit as on any desk; raises Refusal W05 with the rule when the house's judge would refuse the line."""
        self.item(item_id)
        payload["guideline_version"] = self.opened.handed.versions[-1]
        content = {**(proposal.payload() if proposal else {}), **payload}
        claimed = self._claimed(str(payload.get("patched_from", item_id)), actor)
        row = answer_row(self.opened.handed, item_id, Written(actor, content, claimed, datetime.now(UTC).isoformat()))
        handed = self.opened.handed
        judged = judge_work if proposal is None else judge_correction
        wrong = next((one for one in judged(row, handed.items[item_id], handed) if one["class"] != "minor"), None)
        if wrong:
            said = f"{wrong['rule_id']}, {wrong['path']}: got {wrong['got']}, expected {wrong['expected']}"
            raise Refusal("W05", said, remedy=f"{wrong['fix_hint']}; the draft is kept")
        return super().submit(item_id, actor, proposal, after=after, **payload)

    def item(self, item_id: str) -> Item:
        """The item; raises Refusal W07 for one that is unknown or was called back."""
        if item_id in self.opened.handed.letters.recalled:
            raise Refusal("W07", "it was called back")
        return super().item(item_id)

    def append(self, item_id: str, kind: Any, actor: str, *, after: int, **payload: Any) -> Place:
        """Add an event; words with personal data that the run does not hold are refused: they would leave with the return."""
        words = [str(payload[name]) for name in ("note", "reason") if payload.get(name)]
        if words and kind != "report_privacy":
            found = next(iter(added(words, texts_of(self.item(item_id).messages))), None)
            if found:
                raise Refusal("W12", f"one without personal data ({masked(*found)})", remedy="say it without that")
        return super().append(item_id, kind, actor, after=after, **payload)

    def _claimed(self, item_id: str, actor: str) -> str:
        """When the work behind an answer began: its claim, or that of the item whose correction was applied to this one."""
        trail = self.board.places[item_id].trail if item_id in self.board.places else []
        return next((step.at for step in reversed(trail) if step.kind == "claim" and step.actor == actor), "")

    def _items_of(self, batch: Batch) -> dict[str, Item]:
        return self.opened.items

    def _settle(self) -> None:
        """Take what was called back from everybody, drafts too; then as in the house."""
        for item_id, one in self.opened.handed.letters.recalled.items():
            place = self.board.places.get(item_id)
            if place and not place.reported and place.state.status in (*OPEN, "accepted"):
                self._say(place, Event(item_id, "report_privacy", "system", {"note": f"called back: {one['reason']}"}))
        super()._settle()

    def _settle_lot(self) -> None:
        """The lot is closed and audited in the house."""
