"""What is done at the bench as lines of the return format: corrections, unfixable items and decisions.

Pure: the same events give the same lines, so a line that was sent is known again by its hash.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import flywheel
from flywheel.corrections.handoff.verify import CORRECTION_SCHEMA, DECISION_SCHEMA, UNFIXABLE_SCHEMA
from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.handoff.verify.correction import LONGEST
from flywheel.corrections.handoff.verify.strict import sha256_of
from flywheel.corrections.states import Event, ItemState, fold
from flywheel.toolcalls.arguments import sha256_of as short_hash

_DROPPED = "the guidelines do not decide it"  # the adjudicator's own words for a gap; anything else is no ground truth


class Written(NamedTuple):
    """One submission: who, its payload (a proposal, or `unfixable` and `note`), when it was claimed and submitted."""

    actor: str
    payload: dict[str, Any]
    claimed_at: str
    submitted_at: str


class Line(NamedTuple):
    """What goes back for one item.

    Attributes:
        kind: correction or unfixable.
        digest: hash of the row, as the judge computes it.
        decisions: of the partner's reviewer and adjudicator about this very answer.
        decided: whether the partner's own people are done with it.
    """

    item_id: str
    kind: str
    row: dict[str, Any]
    digest: str
    decisions: list[dict[str, Any]]
    decided: bool


def pseudonym(name: str) -> str:
    """The name as it goes to the house: as it is where the format takes it, else without the characters that it does not take."""
    kept = "".join(character if character.isalnum() or character in "._-" else "-" for character in name)
    return kept if kept == name else f"{kept}-{short_hash(name)[:6]}"[-64:].lstrip("._-")


def answer_row(handed: HandedOut, item_id: str, written: Written) -> dict[str, Any]:
    """One answer as a line of corrections.jsonl or unfixable.jsonl."""
    payload, item = written.payload, handed.items[item_id]
    started = _started(written)
    active = int((payload.get("effort") or {}).get("active_ms") or 0)
    shared = {
        "item_id": item_id, "base_sha256": item.base_sha256, "actor_ref": pseudonym(written.actor),
        "guideline_version": payload.get("guideline_version") or handed.manifest["guidelines"]["version"],
        "active_ms": min(active, _between(started, written.submitted_at)),
        "started_at": started, "submitted_at": written.submitted_at,
    }  # fmt: skip
    if payload.get("unfixable"):
        return {"schema_version": UNFIXABLE_SCHEMA, **shared, "code": payload["unfixable"], "note": str(payload.get("note") or "")}  # fmt: skip
    return {
        "schema_version": CORRECTION_SCHEMA, **shared, "first_bad_message_index": payload["first_bad_message_index"],
        "trainable_indices": list(payload["trainable_indices"]), "suffix_mode": payload["suffix_mode"], "rationale": "",
        "resulting_messages": list(payload["messages"]), "client_version": f"flywheel workbench {flywheel.__version__}",
    }  # fmt: skip


def lines_of(handed: HandedOut, events: Iterable[Event]) -> list[Line]:
    """The lines of everything that was submitted, by item in the batch's order; items nobody answered, or that were called back, are left out."""
    by_item: dict[str, list[Event]] = {}
    for event in events:
        by_item.setdefault(event.item_id, []).append(event)
    claims = {(e.item_id, e.actor): e.at for found in by_item.values() for e in found if e.kind == "claim"}
    kept = [item_id for item_id in handed.items if item_id not in handed.letters.recalled]
    found = (_line(handed, item_id, by_item.get(item_id, []), claims) for item_id in kept)
    return [line for line in found if line is not None]


def _line(handed: HandedOut, item_id: str, events: list[Event], claims: dict[tuple[str, str], str]) -> Line | None:
    last = next((n for n in range(len(events) - 1, -1, -1) if events[n].kind == "submit"), None)
    state = fold(events)
    if last is None or state.status in ("queued", "claimed", "submitted", "quarantined"):
        return None  # what came back to its author, or shows personal data, is no answer
    submitted, after = events[last], events[last + 1 :]
    payload = submitted.payload
    if state.status == "dropped" and not state.confirmed:
        payload = {**payload, **_dropped(after)}
    source = str(payload.get("patched_from", item_id))
    written = Written(submitted.actor, payload, claims.get((source, submitted.actor), ""), submitted.at)
    row = answer_row(handed, item_id, written)
    digest = sha256_of(row)
    kind = "unfixable" if payload.get("unfixable") else "correction"
    decided = state.status in ("accepted", "dropped")
    return Line(item_id, kind, row, digest, _decisions(item_id, digest, after, state) if decided else [], decided)


def _dropped(after: list[Event]) -> dict[str, str]:
    """An adjudicator found that nothing can be right, or another reason: the item goes back as one that cannot be fixed, in their words."""
    said = next((str(event.payload.get("note", "")) for event in reversed(after) if event.kind == "drop"), "")
    return {"unfixable": "policy_gap" if said == _DROPPED else "no_ground_truth", "note": said}


def _decisions(item_id: str, digest: str, after: list[Event], state: ItemState) -> list[dict[str, Any]]:
    verdicts = {"accept": "accept", "dispute": "dispute", "uphold": "accept", "drop": "accept"}
    return [
        {"schema_version": DECISION_SCHEMA, "item_id": item_id, "actor_ref": pseudonym(event.actor),
         "role": "adjudicator" if event.actor == state.adjudicator else "reviewer", "verdict": verdicts[event.kind], "at": event.at,
         "answer_sha256": digest, "note": str(event.payload.get("note") or event.payload.get("reason") or "")}
        for event in after if event.kind in verdicts
    ]  # fmt: skip


def _started(written: Written) -> str:
    """When the work began: the claim; where that is longer ago than one sitting may be, the last opening of the page."""
    claimed = written.claimed_at or written.submitted_at
    if timedelta(milliseconds=_between(claimed, written.submitted_at)) <= LONGEST:
        return claimed
    opened = str((written.payload.get("effort") or {}).get("opened_at") or "")
    try:
        moment = datetime.fromisoformat(opened)
    except ValueError:
        return claimed
    later = moment.tzinfo is not None and datetime.fromisoformat(claimed) <= moment
    return moment.isoformat() if later and moment <= datetime.fromisoformat(written.submitted_at) else claimed


def _between(first: str, second: str) -> int:
    """Milliseconds from one moment to the other, at least 0."""
    took = datetime.fromisoformat(second) - datetime.fromisoformat(first)
    return max(0, int(took / timedelta(milliseconds=1)))
