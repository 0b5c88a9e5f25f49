"""A conflict from the datasets to an adjudicator and back: store and build together, without a browser, each step twice."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from flywheel.chat import Renderer
from flywheel.corrections.closing import close_now, own_states
from flywheel.corrections.conflicts import Conflict, conflicts_handed_out, conflicts_of, decision_rows
from flywheel.corrections.events import EventStore
from flywheel.corrections.lots import Lot, lot_of, settle_lot
from flywheel.corrections.released import corrected_rows
from flywheel.corrections.states import Event
from flywheel.datasets.build import Build, build
from flywheel.datasets.card import card
from flywheel.errors import FlywheelError
from flywheel.failures.selection import numbered
from flywheel.lake import Lake
from flywheel.workflows.pack import Pack
from flywheel_tests.corrections.stores import CLEAN, play
from flywheel_tests.datasets.samples import WEEKS, called, correction, put, said, workshop

FIRST, SECOND, THIRD, FOURTH = WEEKS[:4]
UPHELD = (("start_adjudication", "joy"), ("uphold", "joy", {"note": "guideline 2", "chosen": 1}))


class House:
    """A lake with two answers to one request, and the store that is to settle them."""

    def __init__(self, pack: Pack, renderer: Renderer, lake: Lake) -> None:
        self.shop, self.lake, self.pack = workshop(lake, pack, renderer), lake, pack
        self.store = EventStore(":memory:")
        one = correction(pack, "what about A3", said("yes"), annotator="ann", wrong=called("get_order", order_id="A3"))
        put(self.shop, FIRST, one)
        put(self.shop, SECOND, correction(pack, "what  about A3", said("no"), annotator="bea"))

    def build(self, week: str) -> Build:
        """Build and write, as the stage does."""
        made = build(self.shop, week)
        self.lake.replace_partition("dataset_conflicts", made.conflicts, workflow=self.pack.name, week=week)
        return made

    def conflicts(self, week: str, **changes: Any) -> list[Conflict]:
        quality = self.pack.settings.quality
        done = conflicts_handed_out(self.store, self.pack.name, before_week=week, quality=quality)
        return conflicts_of(self.lake, self.pack.name, **{"before": week, "handed_out": done, "most": 9, **changes})[0]

    def hand_out(self, week: str) -> str:
        """Open the week's batch with the open conflicts; returns its id."""
        conflicts = self.conflicts(week)
        items, version = numbered([conflict.row for conflict in conflicts])
        self.lake.replace_partition("correction_batch", items, workflow=self.pack.name, week=week)
        return self.store.open_batch(
            week=week, workflow=self.pack.name, version=version, item_ids=[item["item_id"] for item in items], qa_mode="three",
            conflicts={conflict.row["item_id"]: conflict.payload for conflict in conflicts},
        )  # fmt: skip

    def audit(self, week: str, *, verdict: str) -> Lot:
        """Close the week's lot or batch, as far as it goes now, and audit what was drawn; returns the lot as it was closed."""
        batch = self.store.batch_of(week, self.pack.name)
        assert batch
        close_now(self.store, self.pack, batch, by="lea")
        lot = lot_of(self.store, batch.name)
        for item_id in lot.waiting:
            self.store.append(
                batch.name,
                Event(
                    item_id, "audit", "zoe", {"verdict": verdict, "defect": "major" if verdict == "failed" else None}
                ),
            )
        return lot

    def release(self, week: str, *, verdict: str = "passed") -> list[dict[str, Any]]:
        """Audit and close the week's batch, and write what the stage writes of it; returns the decisions."""
        while not (batch := self.store.batch_of(week, self.pack.name)).closed:  # type: ignore[union-attr]
            self.audit(week, verdict=verdict)
        items = self.lake.read_partition("correction_batch", workflow=self.pack.name, week=week)
        rows = corrected_rows(self.store, batch, items)
        decided = decision_rows(own_states(self.store, batch), rows)
        self.lake.replace_partition("corrected_traces", rows, workflow=self.pack.name, week=week)
        self.lake.replace_partition("conflict_decisions", decided, workflow=self.pack.name, week=week)
        return decided


@pytest.fixture
def house(pack: Pack, renderer: Renderer, lake: Lake) -> House:
    made = House(pack, renderer, lake)
    assert made.build(SECOND).sft == []
    return made


def targets(made: Build) -> list[str]:
    return [json.loads(row["target"])["content"] for row in made.sft]


def test_an_adjudicator_picks_and_the_next_build_trains_the_winner_alone(house: House):
    batch = house.hand_out(THIRD)
    assert house.hand_out(THIRD) == batch and len(house.store.history(batch)) == 2, "opened and planted once"
    (item_id, state), *_ = house.store.states(batch).items()
    assert state.status == "disputed" and [answer["by"] for answer in state.answers] == ["ann", "bea"]
    assert not house.store.batches()[0].frozen, "nobody has touched it yet"
    (conflict,) = house.conflicts(THIRD)
    assert "by ann and bea" in conflict.row["picked_because"]
    for giver in ("ann", "bea"):
        with pytest.raises(FlywheelError):
            play(house.store, batch, item_id, ("start_adjudication", giver))
    with pytest.raises(FlywheelError, match="not possible"):
        play(house.store, batch, item_id, ("claim", "cat"))
    play(house.store, batch, item_id, ("start_adjudication", "joy"))
    for payload in ({"note": "n"}, {"note": "n", "chosen": 2}, {"chosen": 1}):
        with pytest.raises(FlywheelError):
            play(house.store, batch, item_id, ("uphold", "joy", payload))
    play(house.store, batch, item_id, ("uphold", "joy", {"note": "guideline 2", "chosen": 1}))
    (decision,) = house.release(THIRD)
    assert decision["decision"] == "settled" and decision["adjudicator"] == "joy"
    assert house.release(THIRD) == [decision]
    made = house.build(THIRD)
    assert targets(made) == ["no"] and made.conflicts == []
    assert made.mix.reasons() == {"overruled": 1, "repeated": 1}
    (lost,) = [row for row in made.left_out if row["reason"] == "overruled"]
    assert decision["correction_id"] in lost["detail"]
    assert "1 conflicts are settled by adjudicators" in card(house.shop, made, THIRD)
    assert [build(house.shop, THIRD).sft, build(house.shop, SECOND).sft] == [made.sft, []], (
        "twice is the same; the past stays"
    )
    assert house.conflicts(FOURTH) == []


def test_what_the_winner_is_paired_with_is_what_the_model_did(house: House):
    (conflict,) = house.conflicts(THIRD)
    assert json.loads(conflict.row["messages"])[-1] == said("I do not know."), (
        "the newest correction's own run is shown"
    )
    batch = house.hand_out(THIRD)
    play(
        house.store,
        batch,
        conflict.row["item_id"],
        ("start_adjudication", "joy"),
        ("uphold", "joy", {"note": "n", "chosen": 0}),
    )
    house.release(THIRD)
    (pair,) = house.build(THIRD).pairs
    assert json.loads(pair["chosen"])["content"] == "yes" and json.loads(pair["rejected"]) == said("I do not know.")


def test_another_answer_is_written_reviewed_and_may_come_back(house: House):
    batch = house.hand_out(THIRD)
    (item_id,) = house.store.states(batch)
    prefix = house.store.state(item_id, batch).answers[0]["proposal"]["messages"][:-1]
    written = {
        "first_bad_message_index": 2,
        "messages": [*prefix, said("perhaps")],
        "trainable_indices": [2],
        "suffix_mode": "hand_written",
    }
    play(house.store, batch, item_id, ("start_adjudication", "joy"))
    with pytest.raises(FlywheelError, match="another step"):
        play(house.store, batch, item_id, ("edit", "joy", written | {"first_bad_message_index": 1}))
    play(house.store, batch, item_id, ("edit", "joy", written), ("check", "system", {"problems": ["bad"]}))
    assert house.store.state(item_id, batch).status == "adjudicating", "what the check refuses stays with its author"
    play(house.store, batch, item_id, ("edit", "joy", written), CLEAN)
    with pytest.raises(FlywheelError):
        play(house.store, batch, item_id, ("start_review", "joy"))
    play(house.store, batch, item_id, ("start_review", "rob"), ("return", "rob", {"reason": "why?"}))
    assert house.store.state(item_id, batch).status == "disputed"
    play(
        house.store,
        batch,
        item_id,
        ("start_adjudication", "joy"),
        ("edit", "joy", written),
        CLEAN,
        ("start_review", "rob"),
        ("accept", "rob"),
    )
    (decision,) = house.release(THIRD)
    assert decision["decision"] == "settled"
    made = house.build(THIRD)
    assert targets(made) == ["perhaps"] and made.mix.reasons() == {"overruled": 2}
    row = house.lake.read_partition("corrected_traces", workflow=house.pack.name, week=THIRD).row(0, named=True)
    assert (row["annotator"], row["editor"], row["reviewer"], row["adjudicator"]) == (None, "joy", "rob", "joy")


def test_a_dropped_conflict_does_not_come_again_and_a_new_answer_makes_a_new_one(house: House):
    batch = house.hand_out(THIRD)
    (item_id,) = house.store.states(batch)
    play(house.store, batch, item_id, ("start_adjudication", "joy"), ("drop", "joy", {"note": "nobody can know"}))
    (decision,) = house.release(THIRD)
    assert decision["decision"] == "dropped" and decision["correction_id"] is None
    made = house.build(THIRD)
    assert made.sft == [] and house.conflicts(FOURTH) == []
    assert "0 go to the next batch's adjudicators, 1 were dropped by them" in card(house.shop, made, THIRD)
    later = correction(house.pack, "what about A3", said("maybe"), annotator="cat")
    put(house.shop, FOURTH, later)
    house.build(FOURTH)
    (again,) = house.conflicts(WEEKS[4])
    assert again.row["item_id"] != item_id and len(again.payload["answers"]) == 3


def test_what_the_auditor_refused_comes_again(house: House):
    batch = house.hand_out(THIRD)
    (item_id,) = house.store.states(batch)
    play(house.store, batch, item_id, *UPHELD)
    (decision,) = house.release(THIRD, verdict="failed")
    assert decision["decision"] == "open" and decision["correction_id"] is None
    assert house.build(THIRD).sft == []
    (again,) = house.conflicts(FOURTH)
    assert again.row["item_id"] == item_id
    later = house.hand_out(FOURTH)
    assert house.store.state(item_id, later).status == "disputed" and not house.conflicts(WEEKS[4])


def test_conflicts_of_a_refused_lot_come_again_whatever_was_decided(house: House):
    for number in (4, 5, 6):
        for week, answer, name in ((FIRST, "yes", "ann"), (SECOND, "no", "bea")):
            old = house.lake.read_partition("corrected_traces", workflow=house.pack.name, week=week)
            one = correction(house.pack, f"what about A{number}", said(answer), annotator=name)
            put(house.shop, week, *old.drop("week", "workflow").to_dicts(), one)
    house.build(SECOND)
    quality = house.pack.settings.quality.model_copy(update={"audit_defective_share": 0.8, "audit_confidence": 0.5})
    house.pack = replace(house.pack, settings=house.pack.settings.model_copy(update={"quality": quality}))
    batch = house.hand_out(THIRD)
    items = sorted(house.store.states(batch))
    assert len(items) == 4
    play(house.store, batch, items[0], ("start_adjudication", "joy"), ("drop", "joy", {"note": "nobody can know"}))
    for item_id in items[1:]:
        play(house.store, batch, item_id, *UPHELD)
    lot = house.audit(THIRD, verdict="failed")
    assert settle_lot(house.store, batch).status == "sent_back"
    for item_id in set(lot.items) - set(lot.drawn):
        play(house.store, batch, item_id, ("start_review", "rob"), ("accept", "rob"))
    house.audit(THIRD, verdict="failed")
    house.audit(THIRD, verdict="failed")
    assert house.store.batch_of(THIRD, house.pack.name).closed and lot_of(house.store, batch).status == "refused"  # type: ignore[union-attr]
    kept = [key for key, state in house.store.states(batch).items() if state.status == "accepted"]
    assert len(kept) == 1, "an answer that nobody audited stands accepted in a lot that trains nothing"
    assert sorted(conflict.row["item_id"] for conflict in house.conflicts(FOURTH)) == items


def test_an_answer_that_came_after_the_decision_is_a_new_conflict(house: House):
    batch = house.hand_out(THIRD)
    (item_id,) = house.store.states(batch)
    play(house.store, batch, item_id, ("start_adjudication", "joy"), ("uphold", "joy", {"note": "n", "chosen": 1}))
    house.release(THIRD)
    put(house.shop, FOURTH, correction(house.pack, "what about A3", said("yes"), annotator="cat"))
    assert targets(house.build(FOURTH)) == ["no"], "what the adjudicator saw stays overruled, whoever says it again"
    put(house.shop, FOURTH, correction(house.pack, "what about A3", said("maybe"), annotator="cat"))
    assert house.build(FOURTH).sft == []
    (again,) = house.conflicts(WEEKS[4])
    assert [answer["proposal"]["messages"][-1]["content"] for answer in again.payload["answers"]] == ["no", "maybe"]


def test_an_open_conflict_rolls_over_and_comes_again(house: House):
    house.hand_out(THIRD)
    assert house.conflicts(FOURTH) == [], "people still have it"
    (decision,) = house.release(THIRD)
    assert decision["decision"] == "open" and len(house.conflicts(FOURTH)) == 1


def test_verified_runs_alone_wake_nobody_and_the_rest_waits_its_turn(house: House):
    rows = house.lake.read_partition("dataset_conflicts", workflow=house.pack.name, week=SECOND)
    machine = rows.with_columns(
        source=pl.lit("verified"),
        source_id="v" + pl.col("source_id"),
        context_id=pl.lit("other"),
        annotator=pl.lit(None, pl.String),
    )
    house.lake.replace_partition("dataset_conflicts", pl.concat([rows, machine]), workflow=house.pack.name, week=SECOND)
    assert len(house.conflicts(THIRD)) == 1
    assert conflicts_of(house.lake, house.pack.name, before=THIRD, most=0) == ([], 1)
    assert conflicts_of(house.lake, house.pack.name, before=SECOND, most=9) == ([], 0)
    (both,) = house.conflicts(THIRD, qa_mode="two")
    assert both.payload["barred"] == [], "of two people nobody would be left"


def test_a_withdrawn_settlement_opens_the_conflict_again(house: House):
    batch = house.hand_out(THIRD)
    (item_id,) = house.store.states(batch)
    play(house.store, batch, item_id, ("start_adjudication", "joy"), ("uphold", "joy", {"note": "n", "chosen": 1}))
    (decision,) = house.release(THIRD)
    row = {"withdrawal_id": "w", "kind": "source_id", "value": decision["correction_id"], "reason": "r", "withdrawn_by": "d",
           "withdrawn_at": datetime.now(UTC)}  # fmt: skip
    house.lake.append_new("dataset_withdrawals", [row], workflow=house.pack.name)
    assert house.build(THIRD).sft == []
