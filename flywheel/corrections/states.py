"""The life of one item as a pure state machine: state = fold(events). No store, no clock.

    queued -> claimed -> submitted -> auto_checked -> in_review -> accepted -> released
    claimed   -> queued        lease expired or given back
    submitted -> claimed       the automatic check failed; not counted as a return
    in_review -> claimed       returned, at most twice; then only a dispute is left
    in_review -> disputed -> adjudicating -> accepted | dropped
    in_review -> dropped       the reviewer confirms that nothing can or need be fixed
    accepted  -> auto_checked  its lot failed the audit: another reviewer looks again

No actor has two roles on one item; the store enforces the same by a constraint (design.md, contract 10).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flywheel.errors import FlywheelError

Kind = Literal[
    "claim", "give_back", "submit", "check", "start_review", "accept", "return", "dispute", "start_adjudication", "uphold",
    "drop", "audit", "reopen", "release",
]  # fmt: skip
MAXIMUM_RETURNS = 2

# event kind -> (states it is allowed in, role the actor takes; "system" is nobody)
_ALLOWED: dict[str, tuple[tuple[str, ...], str]] = {
    "claim": (("queued",), "annotator"),
    "give_back": (("claimed",), "annotator"),
    "submit": (("claimed",), "annotator"),
    "check": (("submitted",), "system"),
    "start_review": (("auto_checked",), "reviewer"),
    "accept": (("in_review",), "reviewer"),
    "return": (("in_review",), "reviewer"),
    "dispute": (("in_review",), "reviewer"),
    "start_adjudication": (("disputed",), "adjudicator"),
    "uphold": (("adjudicating",), "adjudicator"),
    "drop": (("in_review", "adjudicating"), "decider"),
    "audit": (("accepted",), "auditor"),
    "reopen": (("accepted",), "system"),
    "release": (("accepted",), "system"),
}


@dataclass(frozen=True)
class Event:
    """One thing somebody did to one item; `payload` depends on the kind."""

    item_id: str
    kind: Kind
    actor: str
    payload: dict[str, Any] = field(default_factory=dict)
    at: str = ""


@dataclass(frozen=True)
class ItemState:
    """Where an item is, who did what, and the live correction.

    Attributes:
        annotator_kind: human, or simulated for the demo's experts; the claim says so.
        proposal: payload of the last submission: a correction, or {"unfixable": reason}.
        reviewers: everyone who ever reviewed it, also before a reopening.
        audit: passed, failed or None.
    """

    status: str = "queued"
    annotator: str | None = None
    annotator_kind: str = "human"
    reviewer: str | None = None
    reviewers: tuple[str, ...] = ()
    adjudicator: str | None = None
    auditor: str | None = None
    returns: int = 0
    proposal: dict[str, Any] | None = None
    audit: str | None = None
    accepted_at: str | None = None


def fold(events: Iterable[Event]) -> ItemState:
    """The state after all events, each checked; the same events always give the same state."""
    state = ItemState()
    for event in events:
        check(state, event)
        state = apply(state, event)
    return state


def role_of(state: ItemState, event: Event) -> str:
    """Role the actor takes with an event: annotator, reviewer, adjudicator, auditor or system."""
    role = _ALLOWED[event.kind][1]
    return ("reviewer" if state.status == "in_review" else "adjudicator") if role == "decider" else role


def check(state: ItemState, event: Event) -> None:
    """Raise FlywheelError naming the broken rule when the event is not allowed in this state."""
    if event.kind not in _ALLOWED:
        raise _refuse(event, f"there is no event {event.kind!r}", f"use one of: {', '.join(_ALLOWED)}")
    states, _ = _ALLOWED[event.kind]
    if state.status not in states:
        raise _refuse(
            event,
            f"{event.kind} is not possible while the item is {state.status}",
            f"wait until it is {' or '.join(states)}",
        )
    role = role_of(state, event)
    holders = {"annotator": state.annotator, "reviewer": state.reviewer, "adjudicator": state.adjudicator}
    current = holders.get(role)
    if event.kind not in ("claim", "start_review", "start_adjudication") and current not in (None, event.actor):
        raise _refuse(
            event,
            f"{event.actor} is not the item's {role}, {current} is",
            f"let {current} do it, or give it back first",
        )
    others = _other_roles(state, role)
    if role != "system" and event.actor in others:
        remedy = "another person has to do this: three passes are three people"
        raise _refuse(
            event, f"{event.actor} is already the item's {others[event.actor]} and cannot be its {role}", remedy
        )
    if event.kind == "start_review" and event.actor in state.reviewers:
        raise _refuse(event, f"{event.actor} reviewed it before its lot failed", "another reviewer has to look again")
    if event.kind == "return" and state.returns >= MAXIMUM_RETURNS:
        raise _refuse(event, f"it was returned {state.returns} times already", "dispute it: an adjudicator decides")
    if event.kind in ("uphold", "drop") and state.status == "adjudicating" and not event.payload.get("note"):
        raise _refuse(event, "an adjudication needs a note", "say in one sentence why")
    if event.kind == "accept" and state.proposal and state.proposal.get("unfixable"):
        raise _refuse(event, "there is no correction to accept", "drop it to confirm, or return it")
    if event.kind == "drop" and state.status == "in_review" and not (state.proposal or {}).get("unfixable"):
        raise _refuse(event, "a reviewer cannot drop a correction", "return or dispute it")
    if event.kind == "audit" and event.payload.get("verdict") not in ("passed", "failed"):
        raise _refuse(event, "an audit is passed or failed", 'give {"verdict": "passed"} or "failed"')


def apply(state: ItemState, event: Event) -> ItemState:
    """The next state; the event must have been checked."""
    actor = event.actor
    match event.kind:
        case "claim":
            return replace(
                state, status="claimed", annotator=actor, annotator_kind=event.payload.get("annotator_kind", "human")
            )
        case "give_back":
            return replace(state, status="queued", annotator=None)
        case "submit":
            return replace(state, status="submitted", proposal=event.payload)
        case "check":
            return replace(state, status="claimed" if event.payload.get("problems") else "auto_checked")
        case "start_review":
            return replace(state, status="in_review", reviewer=actor, reviewers=(*state.reviewers, actor))
        case "return":
            return replace(
                state, status="claimed", returns=state.returns + 1, reviewer=None, reviewers=state.reviewers[:-1]
            )
        case "dispute":
            return replace(state, status="disputed")
        case "start_adjudication":
            return replace(state, status="adjudicating", adjudicator=actor)
        case "accept" | "uphold":
            return replace(state, status="accepted", accepted_at=event.at)
        case "drop":
            return replace(state, status="dropped")
        case "audit":
            status = "accepted" if event.payload["verdict"] == "passed" else "dropped"
            return replace(state, status=status, auditor=actor, audit=event.payload["verdict"])
        case "reopen":
            return replace(state, status="auto_checked", reviewer=None)
        case "release":
            return replace(state, status="released")


def _other_roles(state: ItemState, role: str) -> dict[str, str]:
    held: dict[str, str] = {}
    for name, actors in (
        ("annotator", (state.annotator,)), ("reviewer", state.reviewers), ("adjudicator", (state.adjudicator,)),
        ("auditor", (state.auditor,)),
    ):  # fmt: skip
        if name != role:
            held.update({actor: name for actor in actors if actor})
    return held


def _refuse(event: Event, what: str, remedy: str) -> FlywheelError:
    return FlywheelError(what, where=f"item {event.item_id}", remedy=remedy)
