"""Simulated experts work a correction batch through the event store, in three passes, with mistakes.

The same store API as people use; every claim says `annotator_kind: simulated`. Annotators err at a set rate, reviewers
miss at a set rate, an adjudicator settles disputes, an auditor draws a sample of what was accepted and, when it fails,
sends the lot back to other reviewers.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from flywheel.corrections.audit import draw, sample_size
from flywheel.corrections.events import EventStore
from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.corrections.states import Event
from flywheel.demo.conversation import acceptable, correct_run
from flywheel.demo.protocol import Goal, Simulation
from flywheel.workflows.pack import Pack

ANNOTATORS = ("simulated-annotator-1", "simulated-annotator-2", "simulated-annotator-3")
REVIEWERS = ("simulated-reviewer-1", "simulated-reviewer-2", "simulated-reviewer-3")
ADJUDICATOR, AUDITOR = "simulated-adjudicator", "simulated-auditor"


@dataclass(frozen=True)
class Habits:
    """How careful the simulated experts are, as probabilities: planted mistakes, mistakes noticed, disputes instead of returns."""

    mistake: float = 0.12
    notice: float = 0.85
    dispute: float = 0.2


class ExpertDesk:
    """One batch, answered from opening to closing.

    Args:
        store: the QA store.
        batch: its id in the store.
        goals: trace id -> what the customer really wanted.
    """

    def __init__(
        self, store: EventStore, batch: str, pack: Pack, simulation: Simulation, goals: Mapping[str, Goal], *, seed: int = 0,
        habits: Habits = Habits(),  # noqa: B008  (frozen)
    ) -> None:  # fmt: skip
        self.store, self.batch, self.pack, self.simulation, self.goals = store, batch, pack, simulation, goals
        self.rng = random.Random(f"{seed}|{batch}")
        self.habits = habits
        self.counts: Counter[str] = Counter()

    def answer(self, items: pl.DataFrame) -> dict[str, int]:
        """Work every item, audit the lot, close the batch; returns what happened how often."""
        rows = list(items.sort("position").iter_rows(named=True))
        for number, item in enumerate(rows):
            if self.store.state(item["item_id"], self.batch).status == "queued":
                self._work(item, number)
        self._audit({row["item_id"]: row for row in rows})
        self.store.close_batch(self.batch)
        return dict(self.counts)

    def _event(self, item: Mapping[str, Any], kind: Any, actor: str, **payload: Any) -> None:
        self.store.append(self.batch, Event(item["item_id"], kind, actor, payload))

    def _work(self, item: dict[str, Any], number: int) -> None:
        annotator, reviewer = ANNOTATORS[number % 3], REVIEWERS[(number // 3) % 3]
        goal, original = self.goals[item["trace_id"]], json.loads(item["messages"])
        right = asyncio.run(correct_run(goal, original, self.pack, self.simulation))
        self._event(item, "claim", annotator, annotator_kind="simulated")
        if right is None:
            self._event(item, "submit", annotator, unfixable="not a failure")
            self._event(item, "check", "system", problems=[])
            self._event(item, "start_review", reviewer)
            self._event(item, "drop", reviewer, note="the run is right as it is")
            self.counts["not_a_failure"] += 1
            return
        proposal, careful = right, self.rng.random() >= self.habits.mistake
        if not careful:
            proposal = self._careless(right)
            self.counts["mistakes_made"] += 1
        self._submit(item, annotator, proposal, right, original)
        self._review(item, annotator, reviewer, right, original)

    def _careless(self, right: Proposal) -> Proposal:
        index = right.first_bad_message_index
        wrong = self.simulation.careless(right.messages[index], self.rng)
        return Proposal(index, [*right.messages[:index], wrong], [index], "truncated")

    def _submit(
        self, item: dict[str, Any], annotator: str, proposal: Proposal, right: Proposal, original: list[Any]
    ) -> None:
        self._event(item, "submit", annotator, **proposal.payload())
        problems = auto_check(proposal, original, self.pack.tools)
        self._event(item, "check", "system", problems=problems)
        if problems:  # straight back to the annotator, who sees why; not counted as a return
            self.counts["caught_by_the_automatic_check"] += 1
            self._event(item, "submit", annotator, **right.payload())
            self._event(item, "check", "system", problems=[])

    def _review(
        self, item: dict[str, Any], annotator: str, reviewer: str, right: Proposal, original: list[Any]
    ) -> None:
        self._event(item, "start_review", reviewer)
        if self._is_right(item) or self.rng.random() >= self.habits.notice:
            self._event(item, "accept", reviewer)
            self.counts["accepted"] += 1
            return
        if self.rng.random() < self.habits.dispute:
            self._event(item, "dispute", reviewer, reason="the corrected step does not meet the guidelines")
            self._event(item, "start_adjudication", ADJUDICATOR)
            self._event(item, "drop", ADJUDICATOR, note="the correction is wrong; guideline 3")
            self.counts["dropped_by_adjudication"] += 1
            return
        self._event(item, "return", reviewer, reason="the corrected step does not meet the guidelines")
        self.counts["returned"] += 1
        self._submit(item, annotator, right, right, original)
        self._review(item, annotator, reviewer, right, original)

    def _is_right(self, item: Mapping[str, Any]) -> bool:
        proposal = self.store.state(item["item_id"], self.batch).proposal or {}
        index, messages = proposal["first_bad_message_index"], proposal["messages"]
        return acceptable(self.simulation.solve(self.goals[item["trace_id"]], messages[:index]), messages[index])

    def _audit(self, items: Mapping[str, dict[str, Any]]) -> None:
        """Draw, look, and send a failed lot back to other reviewers once; a second failure drops what was found only."""
        for attempt in range(2):
            accepted = [key for key, state in self.store.states(self.batch).items() if state.status == "accepted"]
            unaudited = [key for key in accepted if self.store.state(key, self.batch).audit is None]
            drawn = draw(unaudited, sample_size(len(accepted)), lot_id=f"{self.batch}|{attempt}")
            failed = [key for key in drawn if not self._is_right(items[key])]
            for key in drawn:
                self._event(items[key], "audit", AUDITOR, verdict="failed" if key in failed else "passed")
            self.counts["audited"] += len(drawn)
            self.counts["failed_audit"] += len(failed)
            if not failed or attempt:
                return
            self.counts["lots_sent_back"] += 1
            for key in sorted(set(unaudited) - set(drawn)):
                self._look_again(items[key])

    def _look_again(self, item: dict[str, Any]) -> None:
        state = self.store.state(item["item_id"], self.batch)
        other = next(name for name in REVIEWERS if name not in state.reviewers)
        self._event(item, "reopen", "system", reason="its lot failed the audit")
        self._event(item, "start_review", other)
        if self._is_right(item):
            self._event(item, "accept", other)
        else:
            self._event(item, "dispute", other, reason="found after the audit")
            self._event(item, "start_adjudication", ADJUDICATOR)
            self._event(item, "drop", ADJUDICATOR, note="found wrong after its lot failed the audit")
            self.counts["dropped_by_adjudication"] += 1
