"""Lots, probes and closing: what is drawn, what is refused, what rolls over, and what the gate says."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flywheel.corrections.closing import audits_waiting, close_due_batches, close_now, rolled_over
from flywheel.corrections.effort import compute_ratio, effort_rows, totals, work_of
from flywheel.corrections.events import EventStore
from flywheel.corrections.handoff.recall import recalls
from flywheel.corrections.lots import close_lot, lot_of, settle_lot
from flywheel.corrections.probes import Material, plan
from flywheel.corrections.released import summary
from flywheel.corrections.spoil import spoil
from flywheel.corrections.states import Event
from flywheel.corrections.verdict import judge, require
from flywheel.errors import FlywheelError
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack, Quality
from flywheel_tests.corrections.stores import CLEAN, FIX, accept, play

ITEMS = [f"i{number:02d}" for number in range(30)]
NOW = datetime.now(UTC)


@pytest.fixture
def memory() -> EventStore:
    return EventStore(":memory:")


def opened(store: EventStore, week: str = "2026-01-05", items: list[str] = ITEMS, qa_mode: str = "three") -> str:
    return store.open_batch(week=week, workflow="support_desk", version="v", item_ids=items, qa_mode=qa_mode)


def audit_all(store: EventStore, batch: str, wrong: int = 0, defect: str = "major") -> None:
    for number, item in enumerate(lot_of(store, batch).waiting):
        verdict = {"verdict": "failed", "defect": defect} if number < wrong else {"verdict": "passed"}
        store.append(batch, Event(item, "audit", "zoe", verdict))
    settle_lot(store, batch)


def test_the_sample_follows_from_a_salt_that_was_committed_to_at_opening(memory: EventStore):
    batch = opened(memory)
    for item in ITEMS:
        accept(memory, batch, item)
    with pytest.raises(FlywheelError, match="only at items drawn"):
        memory.append(batch, Event(ITEMS[0], "audit", "zoe", {"verdict": "passed"}))
    lot = close_lot(memory, batch, by="lea")
    events = {one.event.kind: one.event for one in memory.history(batch) if one.event.item_id == ""}
    shown = events["close_lot"].payload
    assert hashlib.sha256(shown["salt"].encode()).hexdigest() == events["open"].payload["lot_salt_sha256"]
    assert memory.salt(batch) != shown["salt"], "the probes' secret stays one"
    assert lot.status == "auditing" and len(lot.drawn) == lot.plan["sample"] == 16 and set(lot.drawn) <= set(ITEMS)
    assert lot.plan["chance_of_acceptance_by_share_of_bad_items"]["10%"] <= 0.1
    left = next(item for item in ITEMS if item not in lot.drawn)
    for event in (Event(left, "audit", "zoe", {"verdict": "passed"}), Event(left, "reopen", "system")):
        with pytest.raises(FlywheelError):
            memory.append(batch, event)
    with pytest.raises(FlywheelError, match="closed already"):
        close_lot(memory, batch)
    assert not judge(memory, memory.batches()[0]).ok
    audit_all(memory, batch)
    assert lot_of(memory, batch).status == "passed" and judge(memory, memory.batches()[0]).ok


def test_a_lot_that_fails_goes_to_other_reviewers_and_one_that_fails_twice_is_refused(memory: EventStore):
    batch = opened(memory)
    for item in ITEMS:
        accept(memory, batch, item)
    first = close_lot(memory, batch)
    audit_all(memory, batch, wrong=1)
    again = lot_of(memory, batch)
    left = sorted(set(ITEMS) - set(first.drawn))
    assert again.status == "sent_back" and {memory.state(item, batch).status for item in left} == {"auto_checked"}
    with pytest.raises(FlywheelError, match="another reviewer"):
        memory.append(batch, Event(left[0], "start_review", "rob"))
    with pytest.raises(FlywheelError, match="still open"):
        close_lot(memory, batch)
    for item in left:
        play(memory, batch, item, ("start_review", "sue"), ("accept", "sue"))
    second = close_lot(memory, batch)
    assert second.attempt == 2 and set(second.items) == set(left)
    audit_all(memory, batch, wrong=2, defect="critical")
    assert lot_of(memory, batch).status == "refused"
    verdict = judge(memory, memory.batches()[0])
    assert "failed twice: 2 of" in verdict.reasons[0] and "2 critical defects" in verdict.reasons[1]
    with pytest.raises(FlywheelError, match="does not pass its gate: its lot failed twice"):
        require(memory, memory.batches()[0], Quality())


def test_minor_defects_are_reported_and_pass(memory: EventStore):
    batch = opened(memory, items=ITEMS[:4])
    for item in ITEMS[:4]:
        accept(memory, batch, item)
    close_lot(memory, batch)
    audit_all(memory, batch, wrong=2, defect="minor")
    verdict = judge(memory, memory.batches()[0])
    minor = next(figure for figure in verdict.figures if figure.name == "audit_minor")
    assert verdict.ok and (minor.value, minor.n) == (0.5, 4)
    assert summary(memory, memory.batches()[0])["accepted"] == 4


def test_a_lot_of_two_people_has_no_auditor_and_says_so(memory: EventStore):
    batch = opened(memory, items=ITEMS[:2], qa_mode="two")
    accept(memory, batch, ITEMS[0]), accept(memory, batch, ITEMS[1], "rob", "ann")
    assert close_lot(memory, batch).status == "passed"
    verdict = judge(memory, memory.batches()[0])
    assert verdict.ok and "no third person" in next(f.note for f in verdict.figures if f.name == "audit_failed")


def test_the_deadline_closes_with_what_is_done_and_the_rest_rolls_over(memory: EventStore, pack: Pack):
    batch = opened(memory)
    for item in ITEMS[:10]:
        accept(memory, batch, item)
    memory.append(batch, Event(ITEMS[10], "claim", "ann"))
    late = datetime.now(UTC) + timedelta(days=pack.settings.batch.deadline_days, hours=1)
    assert "10 of 30 items are done; due" in close_due_batches(memory, pack, datetime.now(UTC)).waiting[0].waits_for
    assert "50% must be done" in close_due_batches(memory, pack, late).waiting[0].waits_for
    assert memory.state(ITEMS[10], batch).status == "queued", "the lease expired on the way"
    for item in ITEMS[10:15]:
        accept(memory, batch, item)
    memory.append(batch, Event(ITEMS[29], "claim", "bob"), at=late)
    said = close_due_batches(memory, pack, late).waiting[0].waits_for
    much_later = late + timedelta(days=2)
    assert close_due_batches(memory, pack, much_later).waiting[0].waits_for == said, (
        "the lot closed over a claimed item"
    )
    assert "wait for their audit" in said and len(audits_waiting(memory, batch)) == 10
    with pytest.raises(FlywheelError, match="roll over"):
        memory.append(batch, Event(ITEMS[20], "claim", "ann"))
    audit_all(memory, batch)
    assert close_due_batches(memory, pack, late).closed == {batch: "deadline"}
    assert memory.batches()[0].closed_because == "deadline" and close_due_batches(memory, pack, late).closed == {}
    assert rolled_over(memory, "support_desk", before_week="2026-01-12") == set(ITEMS[15:])
    assert rolled_over(memory, "support_desk", before_week="2026-01-05") == set()
    opened(memory, "2026-01-12", ITEMS[15:20])
    assert rolled_over(memory, "support_desk", before_week="2026-01-19") == set(ITEMS[20:])


def test_a_complete_batch_closes_once_it_is_audited_and_an_empty_one_at_its_deadline(memory: EventStore, pack: Pack):
    batch, empty = opened(memory, items=ITEMS[:1]), opened(memory, "2026-01-12", [])
    accept(memory, batch, ITEMS[0])
    said = {one.batch: one.waits_for for one in close_due_batches(memory, pack, datetime.now(UTC)).waiting}
    assert "1 of 1 drawn" in said[batch] and "no items yet" in said[empty]
    audit_all(memory, batch)
    assert close_due_batches(memory, pack, datetime.now(UTC)).closed == {batch: "complete"}
    assert close_due_batches(memory, pack, NOW + timedelta(days=9)).closed == {empty: "complete"}


TOOL = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "additionalProperties": False, "properties": {
    "kind": {"enum": ["x", "y"]}, "on": {"type": "boolean"}, "id": {"type": "string"}, "n": {"type": "integer"}}}}}  # fmt: skip


def fix(arguments: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "t", "arguments": json.dumps(arguments)}}
    step = {"role": "assistant", "content": content, **({} if content else {"tool_calls": [call]})}
    return FIX | {
        "messages": [{"role": "user", "content": "?"}, step, {"role": "tool", "tool_call_id": "1", "content": ""}]
    }


@pytest.mark.parametrize("arguments", [{"kind": "x"}, {"on": True}, {"id": "AB-12"}, {"n": 3}])
def test_a_spoiled_correction_is_valid_and_wrong(arguments: dict[str, Any]):
    spoiled = spoil(fix(arguments), [TOOL], seed="s")
    assert spoiled and len(spoiled["messages"]) == 2
    raw = spoiled["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(raw) != arguments and check_call([TOOL], "t", raw) == []
    assert spoil(fix({}, "Hello."), [TOOL], seed="s") is None and spoil(fix({"kind": "x"}), [], seed="s") is None


def rows(count: int, week: int) -> list[dict[str, Any]]:
    return [{"item_id": f"{week}-{n}", "trace_id": f"{week}-{n}", "tools": json.dumps([TOOL])} for n in range(count)]


def test_probes_stay_within_a_quarter_look_like_items_and_bar_who_knows():
    old = [Material(row, fix({"kind": "x"}), ("ann", "rob")) for row in rows(60, 1)]
    mine = rows(40, 2)
    probes = plan(mine, old, salt="s", quality=Quality(), exposures={"1-0": 2, "1-1": 1}, annotators=3)
    kinds = [probe.kind for probe in probes]
    assert (kinds.count("overlap"), kinds.count("known_bad"), kinds.count("gold")) == (5, 2, 3) and len(kinds) == 10
    assert probes == plan(mine, old, salt="s", quality=Quality(), exposures={"1-0": 2, "1-1": 1}, annotators=3)
    assert {probe.source for probe in probes if probe.kind == "gold"} == {"1-1", "1-2", "1-3"}, "1-0 is retired"
    assert all(
        len(probe.item_id) == 16 and int(probe.item_id, 16) >= 0 and probe.row["item_id"] == probe.item_id
        for probe in probes
    )
    assert all(probe.barred == (() if probe.kind == "overlap" else ("ann", "rob")) for probe in probes)
    assert len({probe.item_id for probe in probes}) == 10 and all(-0.5 <= probe.place <= 39.5 for probe in probes)
    assert plan(rows(3, 2), old, salt="s", quality=Quality(), exposures={}, annotators=3) == []


def test_effort_is_summed_where_it_is_known(memory: EventStore):
    batch = opened(memory, items=ITEMS[:2])
    timed = fix({"kind": "y"}) | {"effort": {"active_ms": 36_000, "first_edit_ms": 4_000, "keystrokes": 9}}
    play(memory, batch, "i00", ("claim", "ann"), ("submit", "ann", timed), CLEAN, ("start_review", "rob"),
         ("return", "rob", {"effort": {"active_ms": -5}}), ("submit", "ann", timed), CLEAN, ("start_review", "rob"), ("accept", "rob"))  # fmt: skip
    original = [{"role": "user", "content": "?"}, fix({"kind": "x"})["messages"][1]]
    row = {"bucket": "wrong_arguments", "messages": json.dumps(original), "message_index": 1}
    work = work_of(memory.history(batch), {"i00": row})
    rates = {"expert_hour": 100.0, "reviewer_hour": 50.0}
    ann = next(row for row in effort_rows(work, rates) if row["name"] == "ann")
    assert (ann["items"], ann["decisions"], ann["timed"], ann["active_seconds"], ann["edit_distance"]) == (
        1,
        2,
        2,
        72.0,
        1.0,
    )
    assert ann["cost"] == pytest.approx(2.0) and ann["seconds_to_first_edit"] == 4.0
    rob = next(row for row in effort_rows(work, rates) if row["name"] == "rob")
    assert (rob["active_seconds"], rob["cost"], rob["accepted_as_is"], rob["changed"], rob["returned"]) == (
        None,
        None,
        1,
        1,
        1,
    )
    assert {(r["grouping"], r["name"]) for r in effort_rows(work, rates)} >= {
        ("tool", "t"),
        ("bucket", "wrong_arguments"),
    }
    named = {name: value for name, value, _, _ in totals(work, 1, rates)}
    assert named["cost_per_accepted"] == pytest.approx(2.0) and named["active_seconds"] == 72.0
    assert {value for _, value, _, _ in totals([], 0, {})} == {None}
    assert compute_ratio(2.0, 3600, {"accelerator_hour": 4.0}) == 0.5 and compute_ratio(2.0, None, rates) is None


def test_a_person_closes_a_batch_and_its_audit_is_still_asked_for(memory: EventStore, pack: Pack):
    batch = opened(memory)
    for item in ITEMS[:5]:
        accept(memory, batch, item)
    (open_batch,) = memory.batches()
    said = close_now(memory, pack, open_batch, by="lea")
    assert "drawn items wait for their audit" in said and not memory.batches()[0].closed
    audit_all(memory, batch)
    assert close_now(memory, pack, open_batch, by="lea").startswith("closed: 5 of 30 items are done")
    (closed,) = memory.batches()
    assert closed.closed and closed.closed_because == "closed by lea"
    with pytest.raises(FlywheelError, match="closed already"):
        close_now(memory, pack, closed, by="lea")
    assert rolled_over(memory, "support_desk", before_week="2026-01-12") == set(ITEMS[5:])


def test_a_batch_that_left_the_house_is_frozen_and_recalled_by_item(memory: EventStore):
    batch = opened(memory)
    memory.export_batch(batch, "m1")
    memory.export_batch(batch, "m1")
    row = {"item_id": "x" * 16}
    memory.plant(
        batch, "x" * 16, 0.5, {"kind": "overlap", "source": ITEMS[1], "item": row, "expected": None, "barred": []}
    )
    assert memory.batches()[0].frozen and sum(one.event.kind == "export" for one in memory.history(batch)) == 1
    (recall,) = recalls(memory, [ITEMS[1], "unknown"])
    assert (recall.batch, recall.manifests, recall.item_ids) == (batch, ["m1"], sorted([ITEMS[1], "x" * 16]))
    assert recalls(memory, ["unknown"]) == []
