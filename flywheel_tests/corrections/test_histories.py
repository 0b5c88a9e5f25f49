"""Thousands of generated histories over the state machine and a real store: what may never happen, whatever people do.

The store lies in memory: with fsync, waiting for the disk would be most of the time. What the disk adds is tested in test_events.
"""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from flywheel.corrections.closing import own_states
from flywheel.corrections.events import EventStore
from flywheel.corrections.lots import close_lot, lot_of, settle_lot
from flywheel.corrections.released import corrected_rows
from flywheel.corrections.states import OPEN, Event, fold
from flywheel.corrections.verdict import judge
from flywheel.errors import FlywheelError

REAL, PLANTED = ["a", "b", "c"], {"twin": "overlap", "gold": "gold", "bad": "known_bad"}
PEOPLE = ["p", "q", "r", "s", "t"]
ROLE = {"claim": "annotator", "submit": "annotator", "start_review": "reviewer", "accept": "reviewer", "return": "reviewer",
        "dispute": "reviewer", "edit": "reviewer", "start_adjudication": "adjudicator", "uphold": "adjudicator", "audit": "auditor"}  # fmt: skip
# What usually comes next, so that histories get far; the wild rule tries everything else.
NEXT = {
    "queued": ["claim"],
    "claimed": ["submit", "submit", "give_back"],
    "submitted": ["check"],
    "auto_checked": ["start_review"],
    "in_review": ["accept", "accept", "accept", "return", "edit", "dispute", "drop"],
    "disputed": ["start_adjudication"],
    "adjudicating": ["uphold", "drop"],
    "accepted": ["audit"],
}
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "t", "arguments": '{"x": 1}'}}]}
RIGHT: dict[str, Any] = {"first_bad_message_index": 1, "messages": [{"role": "user", "content": "?"}, CALL], "trainable_indices": [1],
                         "suffix_mode": "truncated"}  # fmt: skip
MESSAGES = json.dumps([RIGHT["messages"][0], {"role": "assistant", "content": "!"}])
ITEMS = pl.DataFrame([
    {"item_id": key, "messages": MESSAGES, **{name: key for name in (
        "trace_id", "conversation_id", "near_duplicate_group", "principal_ref", "failure_cluster", "bucket", "tools")}}
    for key in (*REAL, *PLANTED)
])  # fmt: skip
PAYLOAD: dict[str, list[dict[str, Any]]] = {
    "submit": [RIGHT, RIGHT, RIGHT, {"unfixable": "tool_bug"}],
    "edit": [RIGHT],
    "check": [{"problems": []}, {"problems": []}, {"problems": ["x"]}],
    "audit": [
        {"verdict": "passed"},
        {"verdict": "passed"},
        {"verdict": "failed"},
        {"verdict": "failed", "defect": "minor"},
    ],
    "uphold": [{"note": "n"}],
    "drop": [{"note": "n"}],
    "withdraw": [{"reason": "poisoning"}],
}
KINDS = [*ROLE, "give_back", "check", "drop", "reopen", "release", "report_privacy", "withdraw"]
STEPS, HISTORIES = 12, 2_000


class Histories(RuleBasedStateMachine):
    """One batch of three items and one planted item of each kind, five people, and everything they may try."""

    tally = {"histories": 0, "events": 0, "refused": 0, "lots": 0, "audits": 0, "released": 0}

    @initialize()
    def open(self) -> None:
        self.store = EventStore(":memory:")
        self.batch = self.store.open_batch(week="2026-01-05", workflow="w", version="v", item_ids=REAL, qa_mode="three")
        for place, (key, kind) in enumerate(PLANTED.items()):
            extra = {"proposal": RIGHT} if kind == "known_bad" else {}
            payload = {
                "kind": kind,
                "source": "a" if kind == "overlap" else "old",
                "item": {},
                "expected": RIGHT,
                "barred": ["p"],
                **extra,
            }
            role = "reviewer" if kind == "known_bad" else "annotator"
            self.store.plant(self.batch, key, place + 0.5, payload, role=role)
        self.tally["histories"] += 1

    @rule(item=st.sampled_from([*REAL, *PLANTED]), actor=st.sampled_from(PEOPLE), pick=st.integers(0, 11))
    def sensible(self, item: str, actor: str, pick: int) -> None:
        """Do what usually comes next, mostly as the person who holds the item."""
        state = self.store.state(item, self.batch)
        kinds = NEXT.get(state.status)
        if not kinds:
            return
        kind = kinds[pick % len(kinds)]
        holder = {"claimed": state.annotator, "in_review": state.reviewer, "adjudicating": state.adjudicator}.get(
            state.status
        )
        payloads = PAYLOAD.get(kind, [{}])
        self.try_(item, kind, actor if pick == 11 else holder or actor, payloads[pick % len(payloads)])

    @rule(item=st.sampled_from(REAL), pick=st.integers(0, 7), people=st.permutations(PEOPLE))
    def straight(self, item: str, pick: int, people: list[str]) -> None:
        """Take an item from the queue to its acceptance."""
        if self.store.state(item, self.batch).status == "queued":
            for kind, actor in (("claim", 0), ("submit", 0), ("check", 4), ("start_review", 1), ("accept", 1)):
                self.try_(item, kind, people[actor], PAYLOAD.get(kind, [{}])[0])

    @rule(
        item=st.sampled_from([*REAL, *PLANTED]),
        kind=st.sampled_from(KINDS),
        actor=st.sampled_from(PEOPLE),
        pick=st.integers(0, 5),
    )
    def wild(self, item: str, kind: str, actor: str, pick: int) -> None:
        """Try anything."""
        payloads = PAYLOAD.get(kind, [{}])
        self.try_(item, kind, actor, payloads[pick % len(payloads)])

    @rule(luck=st.integers(0, 3))
    def close(self, luck: int) -> None:
        """Close the lot, which is refused while items are open unless the deadline has come."""
        deadline = luck == 0  # rare, for it ends most of a history
        still = any(state.status in OPEN for state in own_states(self.store, self.store.batches()[0]).values())
        before = lot_of(self.store, self.batch).status
        try:
            close_lot(self.store, self.batch, deadline=deadline)
        except FlywheelError:
            assert still and not deadline or before not in ("open", "sent_back") or self.store.batches()[0].closed
            return
        assert (deadline or not still) and before in ("open", "sent_back")
        self.tally["lots"] += 1

    @rule(actor=st.sampled_from(PEOPLE))
    def audit(self, actor: str) -> None:
        """Audit everything that waits, and settle the lot."""
        for number, item in enumerate(lot_of(self.store, self.batch).waiting):
            self.try_(item, "audit", actor, PAYLOAD["audit"][number % 3])
        settle_lot(self.store, self.batch)

    def try_(self, item: str, kind: Any, actor: str, payload: dict[str, Any]) -> None:
        try:
            state = self.store.append(self.batch, Event(item, kind, actor, payload))
            assert self.store.state(item, self.batch) == state, "what append returned is what the log folds to"
            self.tally["events"] += 1
            if kind == "audit":
                self.tally["audits"] += 1
                assert item in lot_of(self.store, self.batch).drawn
        except FlywheelError as error:
            assert error.remedy
            self.tally["refused"] += 1

    def teardown(self) -> None:
        """The whole history, once: roles, bars, replay, order of audits, and what is released."""
        if not hasattr(self, "store"):
            return
        history = self.store.history(self.batch)
        roles: dict[tuple[str, str], str] = {}
        closed: set[str] = set()
        by_item: dict[str, list[Event]] = {}
        for _, _, event in history:
            by_item.setdefault(event.item_id, []).append(event)
            if event.kind == "close_lot":
                closed |= set(event.payload["drawn"])
            if event.kind == "audit":
                assert event.item_id in closed, "an audit before its lot closed, or of an item that was not drawn"
            if event.kind in ROLE:
                key = (event.item_id, event.actor)
                assert roles.setdefault(key, ROLE[event.kind]) == ROLE[event.kind], f"two roles: {key}"
        for person in PEOPLE:
            on_both = {roles.get(("a", person)), roles.get(("twin", person))}
            assert "annotator" not in on_both or None in on_both, "an annotator met the twin"
        assert roles.get(("gold", "p")) != "annotator" and roles.get(("bad", "p")) != "reviewer"
        states = self.store.states(self.batch)
        assert all(fold(by_item.get(key, [])) == state for key, state in states.items())
        assert self.store.verify_chain() == len(history)
        self._release(states)
        self.store.database._idle.pop().close()  # pyright: ignore[reportAttributeAccessIssue]

    def _release(self, states: dict[str, Any]) -> None:
        batch = self.store.batches()[0]
        rows = corrected_rows(self.store, batch, ITEMS)
        accepted = [key for key in REAL if states[key].status in ("accepted", "released")]
        assert [row["item_id"] for row in rows] == sorted(accepted), "planted items are never released"
        for row in rows:
            people = [row[name] for name in ("annotator", "editor", "reviewer", "adjudicator", "auditor") if row[name]]
            assert len(people) == len(set(people)) >= 2
        if accepted and judge(self.store, batch).ok:
            assert lot_of(self.store, self.batch).status == "passed"
        self.tally["released"] += len(rows)


@pytest.mark.timeout(240)
def test_two_thousand_histories(capsys: pytest.CaptureFixture[str]):
    Histories.tally.update(dict.fromkeys(Histories.tally, 0))
    case = Histories.TestCase()
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    case.settings = settings(
        max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None, suppress_health_check=slow, database=None
    )
    case.runTest()
    with capsys.disabled():
        print(f"\n  generated histories: {Histories.tally}")
    assert Histories.tally["histories"] >= HISTORIES
    # Audits are the rarest: 40 to 90 of two thousand histories get that far, by chance.
    assert min(Histories.tally.values()) > 15, "all of it happened, often"
