"""The life of an item: what is allowed, what is refused, and that no history breaks the separation of duties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.states import Event, ItemState, apply, check, fold
from flywheel.errors import FlywheelError

FIX = {"first_bad_message_index": 1, "messages": [], "trainable_indices": [1], "suffix_mode": "truncated"}


def events(*steps: tuple) -> list[Event]:
    return [Event("i", step[0], step[1], step[2] if len(step) > 2 else {}, "2026-01-06") for step in steps]


TO_REVIEW = [("claim", "ann"), ("submit", "ann", FIX), ("check", "system", {"problems": []}), ("start_review", "rob")]


def test_the_straight_way_ends_accepted():
    state = fold(events(*TO_REVIEW, ("accept", "rob")))
    assert (state.status, state.annotator, state.reviewer, state.accepted_at) == (
        "accepted",
        "ann",
        "rob",
        "2026-01-06",
    )


def test_a_hard_failure_goes_straight_back_and_is_no_return():
    state = fold(events(("claim", "ann"), ("submit", "ann", FIX), ("check", "system", {"problems": ["bad"]})))
    assert (state.status, state.returns) == ("claimed", 0)


def test_a_dispute_is_settled_by_a_third_person_with_a_note():
    disputed = [*TO_REVIEW, ("dispute", "rob"), ("start_adjudication", "joy")]
    assert fold(events(*disputed, ("uphold", "joy", {"note": "right"}))).status == "accepted"
    assert fold(events(*disputed, ("drop", "joy", {"note": "wrong"}))).status == "dropped"
    with pytest.raises(FlywheelError, match="needs a note"):
        fold(events(*disputed, ("uphold", "joy")))


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([*TO_REVIEW[:3], ("start_review", "ann")], "already the item's annotator"),
        ([*TO_REVIEW, ("accept", "zoe")], "is not the item's reviewer"),
        ([*TO_REVIEW, ("dispute", "rob"), ("start_adjudication", "rob")], "already the item's reviewer"),
        ([*TO_REVIEW, ("accept", "rob"), ("audit", "ann", {"verdict": "passed"})], "already the item's annotator"),
        ([("submit", "ann", FIX)], "not possible while the item is queued"),
        ([("claim", "ann"), ("submit", "bob", FIX)], "is not the item's annotator"),
        ([*TO_REVIEW, ("drop", "rob")], "cannot drop a correction"),
        (
            [("claim", "ann"), ("submit", "ann", {"unfixable": "no truth"}), *TO_REVIEW[2:], ("accept", "rob")],
            "no correction to accept",
        ),
    ],
)
def test_broken_rules_are_named(steps: list[tuple], said: str):
    with pytest.raises(FlywheelError, match=said):
        fold(events(*steps))


def test_after_two_returns_only_a_dispute_is_left():
    again = [("return", "rob"), ("submit", "ann", FIX), ("check", "system", {"problems": []}), ("start_review", "rob")]
    with pytest.raises(FlywheelError, match="dispute it"):
        fold(events(*TO_REVIEW, *again, *again, ("return", "rob")))


def test_a_failed_lot_is_looked_at_by_someone_else():
    reopened = [*TO_REVIEW, ("accept", "rob"), ("reopen", "system")]
    with pytest.raises(FlywheelError, match="another reviewer"):
        fold(events(*reopened, ("start_review", "rob")))
    assert fold(events(*reopened, ("start_review", "sue"), ("accept", "sue"))).reviewer == "sue"


KINDS = ["claim", "give_back", "submit", "check", "start_review", "accept", "return", "dispute", "start_adjudication", "uphold",
         "drop", "audit", "reopen", "release"]  # fmt: skip
PAYLOADS = st.sampled_from(
    [
        {},
        FIX,
        {"problems": []},
        {"problems": ["x"]},
        {"note": "n"},
        {"verdict": "passed"},
        {"verdict": "failed"},
        {"unfixable": "x"},
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("abcd"), PAYLOADS), max_size=40))
def test_no_history_gives_one_person_two_roles_and_replay_equals_state(steps: list[tuple]):
    state, kept, roles = ItemState(), [], {}
    for kind, actor, payload in steps:
        event = Event("i", kind, actor, payload, "now")
        try:
            check(state, event)
        except FlywheelError as error:
            assert error.remedy
            continue
        state = apply(state, event)
        kept.append(event)
        for role, holder in (
            ("annotator", state.annotator),
            ("reviewer", state.reviewer),
            ("adjudicator", state.adjudicator),
            ("auditor", state.auditor),
        ):
            if holder:
                roles.setdefault(role, set()).add(holder)
        if state.status == "accepted":
            assert state.proposal and not state.proposal.get("unfixable")
            assert len({state.annotator, state.reviewer}) == 2
            assert state.adjudicator not in {state.annotator, state.reviewer}
            assert state.auditor not in {state.annotator, state.reviewer, state.adjudicator} or state.auditor is None
    assert fold(kept) == state
