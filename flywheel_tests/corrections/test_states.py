"""The life of an item: what is allowed, what is refused, and that no history breaks the separation of duties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.states import Event, ItemState, apply, check, fold
from flywheel.errors import FlywheelError
from flywheel_tests.corrections.stores import FIX


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
            [("claim", "ann"), ("submit", "ann", {"unfixable": "no_ground_truth"}), *TO_REVIEW[2:], ("accept", "rob")],
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


def test_a_reviewer_who_edits_may_not_accept_it_and_a_broken_edit_changes_nothing():
    edited = [*TO_REVIEW, ("edit", "rob", FIX | {"suffix_mode": "hand_written"})]
    broken = fold(events(*edited, ("check", "system", {"problems": ["x"]})))
    assert (broken.status, broken.reviewer, broken.author, broken.proposal) == ("in_review", "rob", "ann", FIX)
    edited.append(("check", "system", {"problems": []}))
    with pytest.raises(FlywheelError, match="another reviewer"):
        fold(events(*edited, ("start_review", "rob")))
    state = fold(events(*edited, ("start_review", "sue"), ("accept", "sue")))
    assert (state.author, state.annotator, state.reviewer, state.status) == ("rob", "ann", "sue", "accepted")


@pytest.mark.parametrize("steps", [[], TO_REVIEW[:1], TO_REVIEW[:3], TO_REVIEW, [*TO_REVIEW, ("dispute", "rob")]])
def test_personal_data_takes_an_item_out_from_anywhere(steps: list[tuple]):
    state = fold(events(*steps, ("report_privacy", "eve")))
    assert state.status == "quarantined"
    with pytest.raises(FlywheelError, match="quarantined"):
        check(state, Event("i", "claim", "ann"))


def test_who_drops_what_cannot_be_fixed_says_whether_it_is_so():
    said = [
        ("claim", "ann"),
        ("submit", "ann", {"unfixable": "not_a_failure"}),
        ("check", "system"),
        ("start_review", "rob"),
    ]
    assert fold(events(*said, ("drop", "rob"))).confirmed, "a reviewer can only confirm it"
    judged = [*said, ("dispute", "rob"), ("start_adjudication", "joy")]
    assert fold(events(*judged, ("drop", "joy", {"note": "n", "confirmed": True}))).confirmed
    assert not fold(events(*judged, ("drop", "joy", {"note": "it is wrong"}))).confirmed
    corrected = [*TO_REVIEW, ("dispute", "rob"), ("start_adjudication", "joy")]
    with pytest.raises(FlywheelError, match="cannot drop a correction"):
        fold(events(*corrected, ("drop", "joy", {"note": "n", "confirmed": True})))


def test_a_minor_defect_is_reported_and_a_major_one_drops_the_item():
    accepted = [*TO_REVIEW, ("accept", "rob")]
    minor = fold(events(*accepted, ("audit", "zoe", {"verdict": "failed", "defect": "minor"})))
    assert (minor.status, minor.audit) == ("accepted", "minor")
    major = fold(events(*accepted, ("audit", "zoe", {"verdict": "failed"})))
    assert (major.status, major.audit, major.defect) == ("dropped", "failed", "major")
    with pytest.raises(FlywheelError, match="audited already"):
        check(minor, Event("i", "audit", "zed", {"verdict": "passed"}))


KINDS = ["claim", "give_back", "submit", "check", "start_review", "accept", "return", "dispute", "start_adjudication", "uphold",
         "drop", "audit", "reopen", "release", "edit", "report_privacy", "withdraw"]  # fmt: skip
PAYLOADS = st.sampled_from(
    [
        {},
        FIX,
        {"problems": []},
        {"problems": ["x"]},
        {"note": "n"},
        {"verdict": "passed"},
        {"verdict": "failed"},
        {"unfixable": "tool_bug"},
        {"note": "n", "confirmed": True},
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
            assert state.proposal and not state.proposal.get("unfixable") and not state.confirmed
            assert len({state.annotator, state.reviewer}) == 2 and state.author != state.reviewer or state.adjudicator
            assert state.adjudicator not in {state.annotator, state.reviewer}
            assert state.auditor not in {state.annotator, state.reviewer, state.adjudicator} or state.auditor is None
    assert fold(kept) == state
