"""The board: what it keeps by following the log is what a full fold gives, and the next item is never another role's."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.corrections.events import Recorded
from flywheel.corrections.states import HELD, OPEN, Event, ItemState, apply, check, fold
from flywheel.corrections.workbench.board import Board
from flywheel.errors import FlywheelError
from flywheel_tests.corrections.test_states import FIX, KINDS, PAYLOADS

ITEMS = {"i": (0, "one"), "j": (1, "two"), "k": (2, "one")}
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(ITEMS)), st.sampled_from(KINDS), st.sampled_from("abc"), PAYLOADS), max_size=60
)


def allowed(steps: list) -> list[Recorded]:
    """Those steps of a random history that the state machine allows, as the log would hold them."""
    states, log = dict.fromkeys(ITEMS, ItemState()), []
    for item, kind, actor, payload in steps:
        event = Event(
            item,
            kind,
            "system" if kind in ("check", "reopen", "release") else actor,
            payload,
            "2026-01-06T10:00:00+00:00",
        )
        try:
            check(states[item], event)
        except FlywheelError:
            continue
        states[item] = apply(states[item], event)
        log.append(Recorded(len(log) + 1, "b", event))
    return log


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 7))
def test_following_in_pieces_equals_a_full_fold(steps: list, piece: int):
    log, board = allowed(steps), Board("b", ITEMS)
    for start in range(0, len(log), piece):
        board.follow(log[start : start + piece])
    for item, place in board.places.items():
        mine = [entry for entry in log if entry.event.item_id == item]
        assert place.state == fold([entry.event for entry in mine])
        assert place.sequence == (mine[-1].sequence if mine else 0)
    assert sum(board.counts().values()) == len(ITEMS)
    assert board.done() == sum(place.state.status not in OPEN for place in board.places.values())
    for status in {place.state.status for place in board.places.values()}:
        assert [place.item_id for place in board.with_status(status)] == [
            k for k, p in board.places.items() if p.state.status == status
        ]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_the_next_item_is_one_the_state_machine_allows(steps: list):
    log, board = allowed(steps), Board("b", ITEMS)
    board.follow(log)
    for actor in "abc":
        for role, kind in (("annotator", "claim"), ("reviewer", "start_review"), ("adjudicator", "start_adjudication")):
            found = board.next_for(actor, role)
            if found is None:
                continue
            place = board.places[found]
            if place.holder() != actor:
                check(place.state, Event(found, kind, actor))
            assert set(place.roles.get(actor, role).split()) == {role}


def test_items_of_one_cluster_follow_each_other_and_ones_own_come_first():
    board = Board("b", ITEMS)
    assert board.next_for("ann", "annotator") == "i" and board.next_for("ann", "annotator", cluster="two") == "j"
    board.follow([Recorded(1, "b", Event("k", "claim", "ann", {}, "2026-01-06T10:00:00+00:00"))])
    assert board.next_for("ann", "annotator") == "k" and board.next_for("bob", "annotator") == "i"


def test_events_of_other_batches_and_unknown_kinds_change_nothing():
    board = Board("b", ITEMS)
    board.follow(
        [
            Recorded(7, "other", Event("i", "claim", "x", {}, "t")),
            Recorded(8, "b", Event("i", "new_kind", "x", {}, "t")),
        ]
    )  # pyright: ignore[reportArgumentType]
    assert board.seen == 8 and board.places["i"].state == ItemState() and board.places["i"].sequence == 8


def test_ten_thousand_items_cost_microseconds():
    board = Board("b", {f"item{n:05}": (n, f"cluster{n % 50}") for n in range(10_000)})
    number, started = 0, time.perf_counter()
    for turn in range(300):
        item = board.next_for(f"ann{turn}", "annotator", cluster=f"cluster{turn % 50}")
        for kind, actor, payload in (
            ("claim", f"ann{turn}", {}),
            ("submit", f"ann{turn}", FIX),
            ("check", "system", {"problems": []}),
        ):
            number += 1
            board.follow([Recorded(number, "b", Event(str(item), kind, actor, payload, "2026-01-06T10:00:00+00:00"))])  # pyright: ignore[reportArgumentType]
        board.counts()
    each = (time.perf_counter() - started) / 300
    assert board.counts() == {"queued": 9_700, "auto_checked": 300}
    assert each < 0.005, f"{each * 1e6:.0f} microseconds a correction"
    assert set(HELD) == {"claimed", "in_review", "adjudicating"}
