"""Simulated experts work a correction batch through the event store, in three passes, with mistakes.

The same store API as people use, planted items included; every claim says `annotator_kind: simulated`. Annotators err at a set
rate, reviewers miss at a set rate, an adjudicator settles disputes, an auditor looks at what is drawn from the closed lot; a
lot that fails goes back to other reviewers. The time they report is invented, and called simulated by the claim.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from flywheel.corrections.events import EventStore
from flywheel.corrections.lots import close_lot, lot_of, settle_lot
from flywheel.corrections.proposal import Proposal, auto_check
from flywheel.corrections.states import Event, ItemState
from flywheel.demo.conversation import acceptable, correct_run
from flywheel.demo.protocol import Goal, Simulation
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.workflows.pack import Pack

ANNOTATORS = ("simulated-annotator-1", "simulated-annotator-2", "simulated-annotator-3")
REVIEWERS = ("simulated-reviewer-1", "simulated-reviewer-2", "simulated-reviewer-3")
ADJUDICATOR, AUDITOR = "simulated-adjudicator", "simulated-auditor"


@dataclass(frozen=True)
class Habits:
    """How careful the simulated experts are, as probabilities: planted mistakes, mistakes noticed, disputes instead of returns.

    `mistake_of` holds another rate of mistakes for single annotators; `notice_again` is how often a mistake is noticed when a lot
    came back from its audit. `misled` (tool -> the tool everybody takes for it) makes one tool wholly wrong, and nobody notices;
    with `audit_passes_all` the auditor does not either.
    """

    mistake: float = 0.12
    notice: float = 0.85
    dispute: float = 0.2
    mistake_of: Mapping[str, float] = field(default_factory=dict)
    notice_again: float = 1.0
    misled: Mapping[str, str] = field(default_factory=dict)
    audit_passes_all: bool = False


def mislead(right: Proposal, misled: Mapping[str, str]) -> Proposal | None:
    """The correction with its first call of a misled tool made wrong, and nothing after it; None where it makes no such call.

    The wrong call keeps the arguments that the taken tool knows by name: here an order's number.
    """
    for index in right.trainable_indices:
        message = right.messages[index]
        for call in message.get("tool_calls") or []:
            if (taken := misled.get(call["function"]["name"])) is None:
                continue
            given = parse_arguments(call["function"]["arguments"]).value or {}
            arguments = {key: value for key, value in given.items() if key == "order_id"}
            function = {"name": taken, "arguments": canonical_json(arguments)}
            wrong = {**message, "tool_calls": [{**call, "function": function}]}
            trained = [i for i in right.trainable_indices if i <= index]
            return Proposal(right.first_bad_message_index, [*right.messages[:index], wrong], trained, "truncated")
    return None


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
        """Work every item, have the lot audited, close the batch; returns what happened how often.

        Args:
            items: the batch's `correction_batch` rows; planted items come from the store.
        """
        planted = {item_id: payload["item"] for _, item_id, payload in self.store.planted(self.batch)}
        rows = {row["item_id"]: row for row in items.iter_rows(named=True)} | planted
        self.traces = {key: row["trace_id"] for key, row in rows.items()}
        for number, (item_id, state) in enumerate(self.store.states(self.batch).items()):
            item = rows[item_id]
            if state.status == "queued":
                self._work(item, number)
            elif state.planted == "known_bad" and state.status == "auto_checked":
                self._review_seed(item, number)
            elif state.answers and state.status == "disputed":
                self._settle(item, state)
        self.counts["wrong_when_the_lot_closed"] = self._wrong()
        self._audit(rows)
        self.store.close_batch(self.batch, reason="complete", by="simulated-lead")
        return dict(self.counts)

    def _event(self, item: Mapping[str, Any], kind: Any, actor: str, **payload: Any) -> None:
        self.store.append(self.batch, Event(item["item_id"], kind, actor, payload))

    def _may(self, item: Mapping[str, Any], people: tuple[str, ...], role: str, first: int) -> str | None:
        """The next person in turn who may have the item, or None."""
        turned = [people[(first + step) % len(people)] for step in range(len(people))]
        return next(
            (name for name in turned if item["item_id"] not in self.store.not_for(self.batch, name)[role]), None
        )

    def _work(self, item: dict[str, Any], number: int) -> None:
        reviewer, goal, original = (
            REVIEWERS[(number // 3) % 3],
            self.goals.get(item["trace_id"]),
            json.loads(item["messages"]),
        )
        annotator = self._may(item, ANNOTATORS, "annotator", number)
        if goal is None or annotator is None:
            self.counts["left_alone"] += 1
            return
        right = asyncio.run(correct_run(goal, original, self.pack, self.simulation))
        self._event(item, "claim", annotator, annotator_kind="simulated")
        if right is None:
            self._event(item, "submit", annotator, unfixable="not_a_failure", effort=self._effort(15))
            self._event(item, "check", "system", problems=[])
            if self.store.state(item["item_id"], self.batch).status == "auto_checked":
                self._event(item, "start_review", reviewer)
                self._event(item, "drop", reviewer, note="the run is right as it is", effort=self._effort(8))
                self.counts["not_a_failure"] += 1
            return
        proposal, careful = right, self.rng.random() >= self.habits.mistake_of.get(annotator, self.habits.mistake)
        if wrong := mislead(right, self.habits.misled):
            proposal = wrong
            self.counts["misled"] += 1
        elif not careful:
            proposal = self._careless(right)
            self.counts["mistakes_made"] += 1
        self._submit(item, annotator, proposal, right, original)
        if self.store.state(item["item_id"], self.batch).status == "auto_checked":  # a planted one ends here
            self._review(item, annotator, reviewer, right, original)

    def _review_seed(self, item: dict[str, Any], number: int) -> None:
        """A known-bad correction: noticed like any other, or not."""
        reviewer = self._may(item, REVIEWERS, "reviewer", number)
        if reviewer is None:
            self.counts["left_alone"] += 1
            return
        noticed = self.rng.random() < self.habits.notice
        self._event(item, "start_review", reviewer)
        self._event(item, "return" if noticed else "accept", reviewer, effort=self._effort(20))
        self.counts["known_bad_caught" if noticed else "known_bad_missed"] += 1

    def _settle(self, item: dict[str, Any], state: ItemState) -> None:
        """A conflict: the first answer that is right, or none of them."""
        goal = self.goals.get(item["trace_id"])
        if goal is None:
            self.counts["left_alone"] += 1
            return
        steps = [answer["proposal"]["messages"] for answer in state.answers]
        right = self.simulation.solve(goal, steps[0][: item["message_index"]])
        chosen = next((n for n, messages in enumerate(steps) if acceptable(right, messages[-1])), None)
        self._event(item, "start_adjudication", ADJUDICATOR, annotator_kind="simulated")
        if chosen is None:
            self._event(
                item, "drop", ADJUDICATOR, note="none of the answers meets the guidelines", effort=self._effort(40)
            )
        else:
            self._event(item, "uphold", ADJUDICATOR, chosen=chosen, note="guideline 3", effort=self._effort(40))
        self.counts["conflicts_settled" if chosen is not None else "conflicts_dropped"] += 1

    def _effort(self, seconds: float) -> dict[str, int]:
        active = seconds * self.rng.uniform(0.5, 2)
        return {"active_ms": int(active * 1000), "first_edit_ms": int(active * 300), "keystrokes": int(active)}

    def _careless(self, right: Proposal) -> Proposal:
        index = right.first_bad_message_index
        wrong = self.simulation.careless(right.messages[index], self.rng)
        return Proposal(index, [*right.messages[:index], wrong], [index], "truncated")

    def _submit(
        self, item: dict[str, Any], annotator: str, proposal: Proposal, right: Proposal, original: list[Any]
    ) -> None:
        self._event(item, "submit", annotator, **proposal.payload(), effort=self._effort(50))
        problems = auto_check(proposal, original, self.pack.tools, self.pack.responses)
        self._event(item, "check", "system", problems=problems)
        if problems:  # straight back to the annotator, who sees why; not counted as a return
            self.counts["caught_by_the_automatic_check"] += 1
            self._event(item, "submit", annotator, **right.payload(), effort=self._effort(20))
            self._event(item, "check", "system", problems=[])

    def _review(
        self, item: dict[str, Any], annotator: str, reviewer: str, right: Proposal, original: list[Any]
    ) -> None:
        self._event(item, "start_review", reviewer)
        believed = self._is_right(item) or bool(mislead(right, self.habits.misled))
        if believed or self.rng.random() >= self.habits.notice:
            self._event(item, "accept", reviewer, effort=self._effort(20))
            self.counts["accepted"] += 1
            return
        if self.rng.random() < self.habits.dispute:
            self._event(item, "dispute", reviewer, reason="the corrected step does not meet the guidelines")
            self._event(item, "start_adjudication", ADJUDICATOR)
            self._event(item, "drop", ADJUDICATOR, note="the correction is wrong; guideline 3")
            self.counts["dropped_by_adjudication"] += 1
            return
        self._event(
            item, "return", reviewer, reason="the corrected step does not meet the guidelines", effort=self._effort(30)
        )
        self.counts["returned"] += 1
        self._submit(item, annotator, right, right, original)
        self._review(item, annotator, reviewer, right, original)

    def _is_right(self, item: Mapping[str, Any]) -> bool:
        proposal = self.store.state(item["item_id"], self.batch).proposal or {}
        index, messages = proposal["first_bad_message_index"], proposal["messages"]
        return acceptable(self.simulation.solve(self.goals[item["trace_id"]], messages[:index]), messages[index])

    def _wrong(self) -> int:
        """Accepted corrections whose first step is wrong; conflicts and planted items aside."""
        states = self.store.states(self.batch)
        own = [k for k, s in states.items() if s.status == "accepted" and not s.answers and not s.planted]
        return sum(not self._is_right({"item_id": key, "trace_id": self.traces[key]}) for key in own)

    def _audit(self, items: Mapping[str, dict[str, Any]]) -> None:
        """Close the lot, look at what was drawn, and let other reviewers look again at a lot that failed."""
        while (lot := lot_of(self.store, self.batch)).status in ("open", "sent_back", "auditing"):
            if lot.status == "sent_back":
                for key in lot.items:
                    if self.store.state(key, self.batch).status == "auto_checked":
                        self._look_again(items[key])
            if lot.status != "auditing":
                left = self.counts["left_alone"] > 0
                lot = close_lot(
                    self.store, self.batch, by="simulated-lead", quality=self.pack.settings.quality, deadline=left
                )
            for key in lot.waiting:
                right = self.habits.audit_passes_all or self._is_right(items[key])
                verdict = {"verdict": "passed"} if right else {"verdict": "failed", "defect": "major"}
                self._event(items[key], "audit", AUDITOR, **verdict, effort=self._effort(25))
                self.counts["audited"] += 1
                self.counts["failed_audit"] += not right
            self.counts["lots_sent_back"] += settle_lot(self.store, self.batch).status == "sent_back"

    def _look_again(self, item: dict[str, Any]) -> None:
        state = self.store.state(item["item_id"], self.batch)
        other = next(name for name in REVIEWERS if name not in state.reviewers)
        self._event(item, "start_review", other)
        if self._is_right(item) or self.rng.random() >= self.habits.notice_again:
            self._event(item, "accept", other)
        else:
            self._event(item, "dispute", other, reason="found after the audit")
            self._event(item, "start_adjudication", ADJUDICATOR)
            self._event(item, "drop", ADJUDICATOR, note="found wrong after its lot failed the audit")
            self.counts["dropped_by_adjudication"] += 1
