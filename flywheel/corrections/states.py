"""The life of one item as a pure state machine: state = fold(events). No store, no clock.

    queued -> claimed -> submitted -> auto_checked -> in_review -> accepted -> released
    claimed   -> queued        lease expired or given back; likewise in_review -> auto_checked, adjudicating -> disputed
    submitted -> claimed       the automatic check failed; not counted as a return
    in_review -> claimed       returned, at most twice; then only a dispute is left
    in_review -> submitted     the reviewer wrote another correction, and may not accept it: another reviewer looks
    in_review -> disputed -> adjudicating -> accepted | dropped; a drop says whether it confirms that nothing can or need be fixed
    in_review -> dropped       the reviewer confirms that nothing can or need be fixed
    accepted  -> auto_checked  its lot failed the audit: another reviewer looks again
    any open  -> quarantined   somebody saw personal data in it
    accepted, released -> withdrawn     erasure, poisoning or a changed guideline

A conflict (conflicts.py) starts as disputed, with the answers people gave: its adjudicator upholds one of them, or writes another,
which a reviewer looks at; where the reviewer returns it, it is disputed again.

No actor has two roles on one item; the store enforces the same by a constraint (design.md, contract 10). Planted items (probes.py)
go the same way, and end where they have answered what they were planted for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from flywheel.errors import FlywheelError

Kind = Literal[
    "plant", "claim", "give_back", "submit", "check", "start_review", "accept", "return", "dispute", "edit", "start_adjudication",
    "uphold", "drop", "audit", "reopen", "release", "report_privacy", "withdraw", "open", "export", "close", "close_lot", "reopen_lot",
]  # fmt: skip
MAXIMUM_RETURNS = 2
UNFIXABLE = ("no_ground_truth", "tool_bug", "policy_gap", "not_a_failure")
WITHDRAWALS = ("erasure", "poisoning", "guideline_change")
DEFECTS = ("critical", "major", "minor")
OPEN = ("queued", "claimed", "submitted", "auto_checked", "in_review", "disputed", "adjudicating")
# Somebody holds the item: their lease runs.
HELD = {"claimed": "annotator", "in_review": "reviewer", "adjudicating": "adjudicator"}

# event kind -> (states it is allowed in, role the actor takes; "system" is nobody, "decider" and "holder" who has it now)
_ALLOWED: dict[str, tuple[tuple[str, ...], str]] = {
    "plant": (("queued",), "system"),
    "claim": (("queued",), "annotator"),
    "give_back": (tuple(HELD), "holder"),
    "submit": (("claimed",), "annotator"),
    "check": (("submitted",), "system"),
    "start_review": (("auto_checked",), "reviewer"),
    "accept": (("in_review",), "reviewer"),
    "return": (("in_review",), "reviewer"),
    "dispute": (("in_review",), "reviewer"),
    "edit": (("in_review", "adjudicating"), "holder"),
    "start_adjudication": (("disputed",), "adjudicator"),
    "uphold": (("adjudicating",), "adjudicator"),
    "drop": (("in_review", "adjudicating"), "holder"),
    "audit": (("accepted",), "auditor"),
    "reopen": (("accepted",), "system"),
    "release": (("accepted",), "system"),
    "report_privacy": ((*OPEN, "accepted"), "system"),
    "withdraw": (("accepted", "released"), "system"),
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
        proposal: payload of the last submission: a correction, or {"unfixable": reason}, `confirmed` when it was dropped for that reason.
        author: who wrote the live proposal: the annotator, or a reviewer who rewrote it.
        reviewers: everyone who ever reviewed it, also before a reopening or an edit.
        audit: passed, failed, minor (a minor defect, reported only) or None.
        before_edit: proposal and author that a reviewer's edit replaced; they stand again when the edit fails the automatic check.
        planted: overlap, gold or known_bad; None for the batch's own items. `barred` must not take it up.
        answers: of a conflict: {by, answer_id, context_id, annotator_kind, proposal} of each that was accepted before; else empty.
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
    author: str | None = None
    audit: str | None = None
    defect: str | None = None
    accepted_at: str | None = None
    planted: str | None = None
    barred: tuple[str, ...] = ()
    before_edit: tuple[dict[str, Any] | None, str | None] | None = None
    answers: tuple[dict[str, Any], ...] = ()
    confirmed: bool = False


def fold(events: Iterable[Event]) -> ItemState:
    """The state after all events, each checked; the same events always give the same state."""
    state = ItemState()
    for event in events:
        check(state, event)
        state = apply(state, event)
    return state


def role_of(state: ItemState, event: Event) -> str:
    """Role the actor takes with an event: annotator, reviewer, adjudicator, auditor or system."""
    return HELD[state.status] if (role := _ALLOWED[event.kind][1]) == "holder" else role


def check(state: ItemState, event: Event) -> None:
    """Raise FlywheelError naming the broken rule when the event is not allowed in this state."""
    if event.kind not in _ALLOWED:
        raise _refuse(event, f"there is no event {event.kind!r} of an item", f"use one of: {', '.join(_ALLOWED)}")
    if state.status not in (states := _ALLOWED[event.kind][0]):
        said = f"{event.kind} is not possible while the item is {state.status}"
        raise _refuse(event, said, f"wait until it is {' or '.join(states)}")
    _check_person(state, event, role_of(state, event))
    _check_content(state, event)


def _check_person(state: ItemState, event: Event, role: str) -> None:
    holders = {"annotator": state.annotator, "reviewer": state.reviewer, "adjudicator": state.adjudicator}
    current = holders.get(role)
    if event.kind not in ("claim", "start_review", "start_adjudication") and current not in (None, event.actor):
        said = f"{event.actor} is not the item's {role}, {current} is"
        raise _refuse(event, said, f"let {current} do it, or give it back first")
    others = _other_roles(state, role)
    if role != "system" and event.actor in others:
        said = f"{event.actor} is already the item's {others[event.actor]} and cannot be its {role}"
        raise _refuse(event, said, "another person has to do this: three passes are three people")
    if event.kind == "start_review" and event.actor in state.reviewers:
        raise _refuse(event, f"{event.actor} reviewed or rewrote it before", "another reviewer has to look again")
    if event.kind == "accept" and event.actor == state.author:
        raise _refuse(event, f"{event.actor} wrote this correction", "another reviewer has to look at it")
    if event.kind in ("claim", "start_review", "start_adjudication") and event.actor in state.barred:
        raise _refuse(event, f"the item is not for {event.actor}", "take another one")


def _check_content(state: ItemState, event: Event) -> None:
    payload, proposal = event.payload, state.proposal or {}
    if event.kind in ("submit", "edit") and payload.get("unfixable") not in (None, *UNFIXABLE):
        raise _refuse(event, f"{payload['unfixable']!r} is no reason", f"use one of: {', '.join(UNFIXABLE)}")
    if event.kind == "return" and state.returns >= MAXIMUM_RETURNS:
        raise _refuse(event, f"it was returned {state.returns} times already", "dispute it: an adjudicator decides")
    if event.kind in ("uphold", "drop") and state.status == "adjudicating" and not payload.get("note"):
        raise _refuse(event, "an adjudication needs a note", "say in one sentence why")
    if event.kind in ("edit", "uphold") and state.status == "adjudicating":
        _check_settlement(state, event)
    if event.kind in ("accept", "uphold") and proposal.get("unfixable"):
        raise _refuse(event, "there is no correction to accept", "drop it to confirm, or return it")
    confirms = event.kind == "drop" and (state.status == "in_review" or payload.get("confirmed"))
    if confirms and not proposal.get("unfixable"):
        raise _refuse(event, "one cannot drop a correction as what cannot be fixed", "return or dispute it")
    if event.kind == "audit" and (state.audit or payload.get("verdict") not in ("passed", "failed")):
        said = "it was audited already" if state.audit else "an audit is passed or failed"
        raise _refuse(event, said, 'give {"verdict": "passed"} or "failed", once')
    if event.kind == "audit" and payload.get("defect") not in (None, *DEFECTS):
        raise _refuse(event, f"{payload['defect']!r} is no class of defect", f"use one of: {', '.join(DEFECTS)}")
    if event.kind == "reopen" and state.audit:
        raise _refuse(event, "it was audited", "what the audit saw is settled; the others of its lot are reopened")
    if event.kind == "withdraw" and payload.get("reason") not in WITHDRAWALS:
        raise _refuse(event, "a withdrawal needs its reason", f"use one of: {', '.join(WITHDRAWALS)}")
    if event.kind == "plant" and (state != ItemState() or payload.get("kind") not in _PLANTED):
        raise _refuse(event, "it cannot be planted", f"plant an unused id as one of: {', '.join(_PLANTED)}")


def _check_settlement(state: ItemState, event: Event) -> None:
    """What an adjudicator may say beside no: uphold what is disputed, or, of a conflict, one of its answers or another one."""
    if event.kind == "edit" and not state.answers:
        raise _refuse(event, "an adjudicator decides, and writes nothing", "uphold the correction, or drop the item")
    index = state.answers[0]["proposal"]["first_bad_message_index"] if state.answers else None
    if event.kind == "edit" and event.payload.get("first_bad_message_index") != index:
        raise _refuse(event, "that is another step than the answers differ in", f"correct message {index}")
    chosen = event.payload.get("chosen")
    known = isinstance(chosen, int) and 0 <= chosen < len(state.answers)
    if event.kind == "uphold" and not known and (chosen is not None or state.proposal is None):
        raise _refuse(event, "it does not say which answer is right", f"name one of the {len(state.answers)}")


def apply(state: ItemState, event: Event) -> ItemState:
    """The next state; the event must have been checked."""
    actor, payload = event.actor, event.payload
    match event.kind:
        case "plant":
            planted = replace(state, planted=payload["kind"], barred=tuple(payload["barred"]))
            return _PLANTED[payload["kind"]](planted, payload)
        case "claim":
            kind = payload.get("annotator_kind", "human")
            return replace(state, status="claimed", annotator=actor, annotator_kind=kind)
        case "give_back":
            return _given_back(state)
        case "submit":
            return replace(state, status="submitted", proposal=payload, author=actor)
        case "edit":
            kept = (state.proposal, state.author)
            return replace(state, status="submitted", proposal=payload, author=actor, reviewer=None, before_edit=kept)
        case "check":
            return _checked(state, bool(payload.get("problems")))
        case "start_review":
            return replace(state, status="in_review", reviewer=actor, reviewers=(*state.reviewers, actor))
        case "return" | "dispute" if state.planted == "known_bad":
            return replace(state, status="dropped")
        case "return":
            writer = "disputed" if state.answers else "claimed"
            back = replace(state, status=writer, returns=state.returns + 1, reviewer=None)
            return replace(back, reviewers=tuple(name for name in state.reviewers if name != state.reviewer))
        case "dispute":
            return replace(state, status="disputed")
        case "start_adjudication":
            kind = payload.get("annotator_kind", state.annotator_kind)
            return replace(state, status="adjudicating", adjudicator=actor, annotator_kind=kind)
        case "uphold" if payload.get("chosen") is not None:
            return _settled(state, state.answers[payload["chosen"]], event)
        case "accept" | "uphold":
            return replace(state, status="accepted", accepted_at=event.at)
        case "drop":
            confirmed = state.status == "in_review" or bool(payload.get("confirmed"))
            return replace(state, status="dropped", confirmed=confirmed)
        case "audit":
            return _audited(state, event)
        case "reopen":
            return replace(state, status="auto_checked", reviewer=None)
        case _:
            return replace(state, status=_LAST[event.kind])


_LAST = {"release": "released", "report_privacy": "quarantined", "withdraw": "withdrawn"}


def _settled(state: ItemState, answer: dict[str, Any], event: Event) -> ItemState:
    by = answer["by"] if answer["by"] != event.actor else None  # of two people, one may have to judge their own answer
    kind = state.annotator_kind if state.annotator_kind == "simulated" else answer["annotator_kind"]
    given = replace(state, proposal=answer["proposal"], author=answer["by"], annotator=by, annotator_kind=kind)
    return replace(given, status="accepted", accepted_at=event.at)


def _given_back(state: ItemState) -> ItemState:
    if state.status == "claimed":
        return replace(state, status="queued", annotator=None)
    if state.status == "in_review":
        return replace(state, status="auto_checked", reviewer=None, reviewers=state.reviewers[:-1])
    return replace(state, status="disputed", adjudicator=None)


def _checked(state: ItemState, problems: bool) -> ItemState:
    edited, settled = state.before_edit, replace(state, before_edit=None)
    if problems and edited and state.author == state.adjudicator:
        return replace(settled, status="adjudicating", proposal=edited[0], author=edited[1])
    if problems and edited:
        return replace(settled, status="in_review", reviewer=state.author, proposal=edited[0], author=edited[1])
    if problems:
        return replace(state, status="claimed")
    if state.planted == "known_bad":  # only an edit gets here: the reviewer saw that it was wrong
        return replace(settled, status="dropped")
    return replace(settled, status="answered" if state.planted else "auto_checked")


def _audited(state: ItemState, event: Event) -> ItemState:
    passed, defect = event.payload["verdict"] == "passed", event.payload.get("defect")
    if passed:
        return replace(state, auditor=event.actor, audit="passed")
    if defect == "minor":
        return replace(state, auditor=event.actor, audit="minor", defect="minor")
    return replace(state, status="dropped", auditor=event.actor, audit="failed", defect=defect or "major")


# What a planted item starts as. A conflict measures nobody: it is one of the batch's own.
_PLANTED = {
    "overlap": lambda state, _: state,
    "gold": lambda state, _: state,
    "known_bad": lambda state, payload: replace(state, status="auto_checked", proposal=payload["proposal"]),
    "conflict": lambda state, told: replace(state, status="disputed", answers=tuple(told["answers"]), planted=None),
}


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
