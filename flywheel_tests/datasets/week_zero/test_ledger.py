"""What counts in week zero: first and second person, all that writes, the stated share of the rest, and nothing twice."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.datasets.demonstrations import read_demonstrations
from flywheel.datasets.steps import steps_of_demonstration
from flywheel.datasets.teacher import add_row
from flywheel.datasets.week_zero.ledger import (
    Ledger,
    add_drafts,
    decide,
    forget,
    ledger_of,
    lot_of,
    may_look,
    measured_minutes,
    problem_with,
    write_counting,
)
from flywheel.demo.week import lay_out_pack
from flywheel.errors import FlywheelError
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import called, said
from flywheel_tests.datasets.week_zero.shown import conversation, opens, refusals, written

DOOR = Path(__file__).parents[2] / "packs" / "door"


@pytest.fixture
def door(tmp_path: Path) -> Pack:
    lay_out_pack(DOOR, tmp_path / "workflows" / "door")
    return load_pack(tmp_path / "workflows" / "door")


@pytest.fixture
def ledger(tmp_path: Path, door: Pack) -> Ledger:
    return ledger_of(tmp_path / "bootstrap", door.folder)


def counting(ledger: Ledger, pack: Pack) -> list[dict]:
    write_counting(ledger, lot_of(ledger, pack))
    return read_demonstrations(ledger.counting.parent)


def test_all_that_writes_and_a_share_of_the_rest_waits_for_a_second_person(door: Pack, ledger: Ledger):
    rows = [opens(door), *refusals(door, 10)]
    assert add_drafts(ledger, rows) == 11 and add_drafts(ledger, rows) == 0, "twice is once"
    lot = lot_of(ledger, door)
    waiting = lot.of("second")
    assert measured_minutes(lot) is None
    assert len(lot.of("counts")) == 8 and sum(one.writes for one in waiting) == 1 and len(waiting) == 3
    assert not may_look(waiting[0], "ann")
    with pytest.raises(FlywheelError, match="a second person looks"):
        decide(ledger, door, waiting[0].row["id"], by="ann", accept=True)
    for one in waiting:
        assert decide(ledger, door, one.row["id"], by="bob", accept=True).status == "counts"
        assert decide(ledger, door, one.row["id"], by="bob", accept=True).second == "bob", "twice is once"
    rows = counting(ledger, door)
    assert sorted((row["qa_mode"], row["reviewer"]) for row in rows) == [("sampled", "")] * 8 + [("two", "bob")] * 3
    assert not write_counting(ledger, lot_of(ledger, door)), "nothing new is written"
    assert {step.verified_by for row in rows for step in steps_of_demonstration(row)} == {"qa_sampled", "qa_two"}
    late = waiting[0].row["id"]
    assert decide(ledger, door, late, by="cat", accept=True).second == "bob", "a third person adds nothing"
    assert decide(ledger, door, late, by="cat", accept=False).status == "refused" and len(counting(ledger, door)) == 10
    with pytest.raises(FlywheelError, match="refused before"):
        decide(ledger, door, late, by="dan", accept=True)


def test_what_a_model_made_needs_a_person_first_and_what_a_verifier_passed_does_not(door: Pack, ledger: Ledger):
    model = {"source": "run", "annotator_kind": "model", "annotator": "base", "trace_id": "t", "principal_ref": "p"}
    asked, passed = opens(door) | model, opens(door, "blue") | model | {"verifier": "reward", "trace_id": "u"}
    quiet = refusals(door, 1)[0] | model | {"verifier": "gold_actions", "trace_id": "v"}
    add_drafts(ledger, [asked, passed, quiet, *refusals(door, 9)[1:]])
    assert [one.status for one in lot_of(ledger, door).standings[:2]] == ["first", "second"]
    assert decide(ledger, door, asked["id"], by="ann", accept=True).status == "second"
    assert decide(ledger, door, asked["id"], by="bob", accept=True).first == "ann"
    decide(ledger, door, passed["id"], by="bob", accept=True)
    rows = {row["trace_id"]: row for row in counting(ledger, door)}
    assert (rows["t"]["reviewer"], rows["t"]["qa_mode"]) == ("ann, bob", "two")
    assert (rows["u"]["reviewer"], rows["u"]["qa_mode"]) == ("verifier_reward, bob", "two")
    if "v" in rows:  # unless its hash was drawn
        (step,) = steps_of_demonstration(rows["v"])
        assert step.verified_by == "verifier_gold_actions" and step.trace_id == "v" and step.principal_ref == "p"


def test_another_spelling_of_a_name_is_no_second_person(door: Pack, ledger: Ledger):
    shown = opens(door)
    add_drafts(ledger, [shown])
    with pytest.raises(FlywheelError, match="a second person looks"):
        decide(ledger, door, shown["id"], by=" Ann ", accept=True)
    add_row(ledger.decisions, {"id": shown["id"], "by": "Ann", "accept": True, "at": "2026-01-05T00:00:00+00:00"})
    (one,) = lot_of(ledger, door).standings
    assert one.status == "second" and counting(ledger, door) == []
    assert decide(ledger, door, shown["id"], by="bob", accept=True).status == "counts"
    assert counting(ledger, door)[0]["reviewer"] == "bob"


def test_a_bad_sample_has_all_looked_at(door: Pack, ledger: Ledger):
    add_drafts(ledger, refusals(door, 60))
    drawn = lot_of(ledger, door).of("second")
    assert len(drawn) == 12
    for number, one in enumerate(drawn):
        decide(ledger, door, one.row["id"], by="bob", accept=number >= 3)
    lot = lot_of(ledger, door)
    assert (lot.looked_at, lot.refused_there, lot.share) == (12, 3, 1.0)
    assert len(lot.of("counts")) == 9 and len(lot.of("second")) == 48 and len(lot.of("refused")) == 3


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["none", "accept", "refuse"])), min_size=1, max_size=14),
    st.integers(1, 100),
)
def test_no_write_counts_unseen_and_the_share_is_kept(tmp_path_factory, lot_of_work, percent):
    folder = tmp_path_factory.mktemp("lot")
    door = load_pack(DOOR)
    zero = door.settings.week_zero.model_copy(update={"review": percent / 100})
    door = Pack(**{**vars(door), "settings": door.settings.model_copy(update={"week_zero": zero})})
    ledger = Ledger(folder / "drafts.jsonl", folder / "decisions.jsonl", folder / "demonstrations" / "week_zero.jsonl")
    rows = [
        opens(door, "red", f"number {n}") if writes else refusals(door, n + 1)[n]
        for n, (writes, _) in enumerate(lot_of_work)
    ]
    add_drafts(ledger, rows)
    for row, (_, verdict) in zip(rows, lot_of_work, strict=True):
        one = next(one for one in lot_of(ledger, door).standings if one.row["id"] == row["id"])
        if verdict != "none" and one.status == "second":
            decide(ledger, door, row["id"], by="bob", accept=verdict == "accept")
    lot = lot_of(ledger, door)
    assert all(one.second for one in lot.of("counts") if one.writes)
    quiet = [one for one in lot.standings if not one.writes]
    looked = sum(one.second is not None or one.status == "refused" for one in quiet)
    waiting = sum(one.status == "second" for one in quiet)
    assert looked + waiting == max(looked, math.ceil(round(lot.share * len(quiet), 9)))
    write_counting(ledger, lot)
    assert len(read_demonstrations(ledger.counting.parent)) == len(lot.of("counts"))


@pytest.mark.parametrize(
    ("steps", "said_of_it"),
    [
        ([called("open_door", door="purple"), said("Open.")], "call of open_door"),
        ([called("fly", door="red"), said("Up.")], "call of fly"),
        ([{"role": "user", "content": "Hello?"}], "does not end on a step"),
        ([said("  ")], "neither says nor calls"),
    ],
)
def test_what_is_no_demonstration_is_refused_and_nothing_is_kept(
    door: Pack, ledger: Ledger, steps: list, said_of_it: str
):
    with pytest.raises(FlywheelError, match=said_of_it):
        add_drafts(ledger, [*refusals(door, 1), written(door, "do it", *steps)])
    assert not ledger.drafts.exists()
    lost = conversation(door, "open", called("open_door", door="red"), said("Open."))
    del lost[3]
    assert problem_with({"messages": lost, "tools": door.tools, "trains_from": 0}) == "call of open_door has no result"


def test_what_the_workbench_measured_is_told_with_its_number(door: Pack, ledger: Ledger):
    times = [{"effort": {"active_ms": minutes * 60_000}} for minutes in (2, 9, 4)]
    timed = [row | more for row, more in zip(refusals(door, 4), [*times, {"effort": {}}], strict=True)]
    add_drafts(ledger, timed)
    assert measured_minutes(lot_of(ledger, door)) == (4.0, 3)


def test_a_persons_runs_leave_ledger_and_pack(door: Pack, ledger: Ledger):
    model = {"source": "run", "annotator_kind": "model", "annotator": "base"}
    theirs = refusals(door, 1)[0] | model | {"trace_id": "t1", "principal_ref": "p1", "verifier": "reward"}
    add_drafts(
        ledger, [theirs, opens(door) | model | {"trace_id": "t2", "principal_ref": "p2"}, *refusals(door, 5)[1:]]
    )
    decide(ledger, door, theirs["id"], by="bob", accept=True)
    counting(ledger, door)
    assert forget(ledger, "p1", ["t1"]) == 3
    everything = "".join(file.read_text() for file in ledger if file.is_file())
    assert "t1" not in everything and "p2" in everything and forget(ledger, "p1", ["t1"]) == 0
    assert json.loads(ledger.drafts.read_text().splitlines()[0])["trace_id"] == "t2"
