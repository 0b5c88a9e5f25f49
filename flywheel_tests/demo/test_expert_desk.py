"""The simulated experts go through the people's store: probes, lots and audits included; a careless annotator is found out."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from flywheel.corrections.batches import Batch
from flywheel.corrections.events import EventStore
from flywheel.corrections.lots import lot_of
from flywheel.corrections.probes import catches, material_of, plant
from flywheel.corrections.scorecard import Score, report, scorecard
from flywheel.corrections.verdict import Verdict, judge
from flywheel.demo import support_customers
from flywheel.demo.expert_desk import ADJUDICATOR, ANNOTATORS, ExpertDesk, Habits
from flywheel.lake import TABLES
from flywheel.workflows.pack import Pack, Quality
from flywheel_tests.demo.desk import conflict_item, conflict_payload, corrected, make_batch

WEEKS = ("2026-01-05", "2026-01-12")


class Told(NamedTuple):
    """What two simulated weeks end with."""

    store: EventStore
    batch: Batch
    verdict: Verdict
    scores: dict[str, Score]
    text: str
    released: set[str]


def two_weeks(pack: Pack, monkeypatch: pytest.MonkeyPatch, *, habits: Habits, quality: Quality, seed: int) -> Told:
    """A first week of careful work, which gives gold, and a second of 180 items with the habits asked for."""
    pack = replace(pack, settings=pack.settings.model_copy(update={"quality": quality}))
    rng = random.Random(seed)
    monkeypatch.setattr("flywheel.corrections.batches.secrets.token_hex", lambda size: rng.randbytes(size).hex())
    store = EventStore(":memory:")
    first, items, goals = make_batch(store, pack, WEEKS[0], 120)
    plant(store, first, items.to_dicts(), [], quality)
    ExpertDesk(store, first, pack, support_customers, goals, habits=Habits(mistake=0), seed=seed).answer(items)
    known = material_of(corrected(store, store.batches()[0], items), items)
    second, later, more = make_batch(store, pack, WEEKS[1], 180)
    plant(store, second, later.to_dicts(), known, quality, last_batch=first)
    ExpertDesk(store, second, pack, support_customers, goals | more, habits=habits, seed=seed).answer(later)
    batch = store.batches()[1]
    verdict, scores = judge(store, batch, quality), scorecard(store, second)
    text = report(batch, verdict, scores, catches(store, second))
    released = set(corrected(store, batch, later)["item_id"])
    return Told(store, batch, verdict, {score.annotator: score for score in scores}, text, released)


def test_a_careless_annotator_is_found_out(pack: Pack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """One of three annotators is wrong in 10 % of their own corrections; reviewers notice half of what is wrong.

    That is 3 % of the batch, under what its audit is planned for. Over 20 seeds the audit sent the lot back in 9, the scorecard
    named the annotator in 13 (and nobody else in any), agreement on the arguments fell in 15, gold in 6; one of them in 19.
    """
    careless = Habits(mistake=0, notice=0.5, mistake_of={ANNOTATORS[0]: 0.1})
    told = two_weeks(pack, monkeypatch, habits=careless, quality=Quality(audit_defective_share=0.05), seed=SEED)
    print("\n" + told.text)
    (tmp_path / "report.txt").write_text(told.text)
    mine, *others = (told.scores[name] for name in ANNOTATORS)
    assert mine.stands_out and mine.wrong >= 4 and not any(other.stands_out or other.wrong for other in others)
    assert mine.failed_audit >= 1 and lot_of(told.store, told.batch.name).attempt == 2, "the audit sent the lot back"
    arguments = next(figure for figure in told.verdict.figures if figure.name == "agreement_arguments")
    assert arguments.value is not None and arguments.value < 1 and mine.differs >= 1
    assert mine.gold_right < mine.gold and not told.verdict.ok, "8 of 9 gold answers are under the default of 90 %"
    planted = {key for key, state in told.store.states(told.batch.name).items() if state.planted}
    assert len(planted) == 40 and not planted & told.released and told.released <= set(told.batch.item_ids)


def test_careful_people_are_not_accused(pack: Pack, monkeypatch: pytest.MonkeyPatch):
    told = two_weeks(pack, monkeypatch, habits=Habits(mistake=0.03), quality=Quality(), seed=1)
    assert told.verdict.ok and not any(score.stands_out for score in told.scores.values()), told.text
    assert set(told.store.states(told.batch.name)) > set(told.batch.item_ids)
    kinds = {state.annotator_kind for state in told.store.states(told.batch.name).values() if state.annotator}
    assert kinds == {"simulated"}


def test_a_batch_whose_gold_is_missed_is_refused_with_figures(pack: Pack, monkeypatch: pytest.MonkeyPatch):
    told = two_weeks(pack, monkeypatch, habits=Habits(mistake=0.5, notice=1.0), quality=Quality(), seed=2)
    assert not told.verdict.ok and "gold answers are right" in " ".join(told.verdict.reasons)
    assert told.text.startswith("support_desk, week 2026-01-12: REFUSED")


def test_nobody_meets_a_run_twice(pack: Pack, monkeypatch: pytest.MonkeyPatch):
    told = two_weeks(pack, monkeypatch, habits=Habits(), quality=Quality(), seed=3)
    states = told.store.states(told.batch.name)
    for _, twin, payload in told.store.planted(told.batch.name):
        if payload["kind"] == "overlap":
            assert states[twin].annotator != states[payload["source"]].annotator
        if payload["kind"] == "gold":
            assert states[twin].annotator not in payload["barred"]
    assert all(a != b for a, b in itertools.pairwise(sorted(states)))


def test_the_desk_settles_a_conflict_by_what_the_customer_wanted(pack: Pack):
    """One right among two answers is upheld, two wrong ones are dropped, and a run whose goal is unknown is left alone."""
    store = EventStore(":memory:")
    goals = {f"t{number}": goal for number, goal in enumerate(support_customers.make_goals(1, 3, WEEKS[0]))}
    offered, conflicts = [], {}
    for number, (trace_id, goal) in enumerate(goals.items()):
        messages = [{"role": "system", "content": pack.system}, {"role": "user", "content": goal.opening}]
        right = support_customers.solve(goal, messages).message
        wrong = support_customers.careless(right, random.Random(0))
        other = right if number != 1 else {"role": "assistant", "content": "I do not know."}
        offered.append(conflict_item(pack, trace_id, messages))
        conflicts[trace_id] = conflict_payload(messages, [wrong, other])
    items = pl.DataFrame(offered, schema=TABLES["correction_batch"].polars_schema())
    batch = store.open_batch(
        week=WEEKS[0], workflow=pack.name, version="v", item_ids=[*goals], qa_mode="three", conflicts=conflicts
    )
    known = {key: goal for key, goal in goals.items() if key != "t2"}
    counts = ExpertDesk(store, batch, pack, support_customers, known).answer(items)
    assert (counts["conflicts_settled"], counts["conflicts_dropped"], counts["left_alone"]) == (1, 1, 1)
    states = store.states(batch)
    assert [states[key].status for key in goals] == ["accepted", "dropped", "disputed"]
    assert states["t0"].adjudicator == ADJUDICATOR and states["t0"].annotator_kind == "simulated"
    (row,) = corrected(store, store.batches()[0], items).iter_rows(named=True)
    assert json.loads(row["messages"])[-1] == conflicts["t0"]["answers"][1]["proposal"]["messages"][-1]


SEED = 4
