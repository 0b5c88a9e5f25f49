"""The stage `prequential_results`: asked before it trains, once, and never of what may have learned the answers."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from flywheel.chat import Renderer
from flywheel.corrections.events import Event, EventStore
from flywheel.corrections.released import found_right
from flywheel.corrections.stores import open_store
from flywheel.defs import prequential as stage
from flywheel.defs.resources import House
from flywheel.errors import FlywheelError
from flywheel.evaluation import servers
from flywheel.partitions import partition_key
from flywheel.settings import Settings
from flywheel_tests.corrections.stores import CLEAN, play
from flywheel_tests.defs.test_evaluation import Week
from flywheel_tests.evaluation.test_prequential import call, item, judged
from flywheel_tests.report.synthetic import row

BEFORE, WEEK, WORKFLOW = "2026-01-05", "2026-01-12", "door"


class Steps(Week):
    """The house of the evaluation's tests with two weeks: `good`, trained in the first, opens every door; the second has five answers."""

    def __init__(self, home: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(home, renderer, monkeypatch)
        fakes = (("check_weights", lambda base: None), ("evaluate", self._evaluate), ("unusable", self._unusable))
        for name, fake in fakes:
            monkeypatch.setattr(servers, name, fake)
        self.gone: dict[str, str] = {}
        judged(self.lake, {BEFORE: "good"}, {BEFORE: ("good", "base")})
        doors = ("red", "green", "blue", "gold")
        users = [[{"role": "user", "content": f"please open {door}"}] for door in doors]
        made = [item(n, call(door=door), self.pack, messages=json.dumps([*users[n], call(door=door)]), first_bad_message_index=1, message_index=1)
                for n, door in enumerate(doors)]  # fmt: skip
        unflagged = {"failure_cluster": "unflagged", "bucket": "unflagged"}
        shown = [*made, {**made[0], "item_id": "i4", "trace_id": "t4", "conversation_id": "talk4", **unflagged}]
        self.write("corrected_traces", made[:3] + [{**made[3], **unflagged}], correction_id=None)
        self.write("correction_batch", shown)
        self.answer([one["item_id"] for one in shown])
        self.write(
            "production_traces", [{"trace_id": f"t{n}", "adapter_id": "base", "messages": "[]"} for n in range(9)]
        )
        self.write(
            "production_failures", [{"failure_id": f"f{n}", "trace_id": f"t{n}", "fault": "agent"} for n in range(3)]
        )

    def answer(self, items: list[str]) -> None:
        """The closed batch behind it: `i4` was found right as it is."""
        store = open_store(Settings(home=self.home), WORKFLOW)
        name = store.open_batch(week=WEEK, workflow=WORKFLOW, version="v", item_ids=items, qa_mode="three")
        nothing = ("submit", "ann", {"unfixable": "not_a_failure"})
        confirmed = (("start_review", "rob"), ("drop", "rob", {"note": "it is right"}))
        play(store, name, "i4", ("claim", "ann"), nothing, CLEAN, *confirmed)
        store.close_batch(name, reason="deadline", by="lead")

    def write(self, table: str, rows: list[dict[str, Any]], **_: Any) -> None:
        self.lake.replace_partition(table, [row(table, **one) for one in rows], workflow=WORKFLOW, week=WEEK)

    def _unusable(self, folder: Path, adapters: set[str], *, base_model: str) -> dict[str, str]:
        return {adapter: why for adapter, why in self.gone.items() if adapter in adapters}

    def ask(self) -> dict[str, Any]:
        assets: list[Any] = [stage.prequential_results, stage.scored_before_trained]
        done = dg.materialize(assets, partition_key=partition_key(WEEK, WORKFLOW), instance=self.instance,
                              resources={"house": House(home=str(self.home))})  # fmt: skip
        assert all(check.passed for check in done.get_asset_check_evaluations())
        return dict(done.asset_materializations_for_node("prequential_results")[-1].metadata)

    def rows(self) -> Any:
        return self.lake.read_partition("prequential_results", workflow=WORKFLOW, week=WEEK)


@pytest.fixture
def steps(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(tmp_path, renderer, monkeypatch)


def test_last_weeks_adapter_answers_this_weeks_steps_and_a_second_time_nobody_is_asked(steps: Steps):
    first = steps.ask()
    rows = steps.rows()
    assert (first["asked"].value, first["steps"].value, steps.servers) == ("checkpoint good, incumbent base", 5, 1)
    assert rows.filter(arm="checkpoint")["success"].all() and not rows.filter(arm="incumbent")["success"].any()
    assert set(rows["slice"]) == {"random_slice", "selected_failures"} and set(rows["answer"]) == {
        "corrected",
        "confirmed",
    }
    assert set(rows.filter(arm="checkpoint")["checkpoint_week"]) == {BEFORE}
    assert steps.ask()["unchanged"].value is True and steps.servers == 1


def test_what_trains_afterwards_changes_no_score_and_what_trained_before_is_not_asked(steps: Steps):
    steps.ask()
    before = steps.rows()
    steps.write("sft_dataset", [{"row_id": f"r{n}", "trace_id": f"t{n}", "messages": "[]"} for n in range(5)])
    judged(steps.lake, {WEEK: "later"})
    assert steps.ask()["unchanged"].value is True and steps.rows().equals(before)
    trained = [row("sft_dataset", row_id="r", trace_id="t1", messages="[]")]
    steps.lake.replace_partition("sft_dataset", trained, workflow=WORKFLOW, week=BEFORE)
    again = steps.ask()
    assert (
        again["steps"].value == 4
        and "1 its run trained already" in again["left_out"].value
        and "t1" not in set(steps.rows()["trace_id"])
    )


def test_an_adapter_deleted_since_keeps_what_it_said(steps: Steps):
    steps.ask()
    before = steps.rows()
    steps.gone = {"good": "adapter good is missing"}
    assert steps.ask()["unchanged"].value is True and steps.rows().equals(before) and steps.servers == 1


def test_nothing_trained_before_asks_nobody_and_a_lost_adapter_is_said(steps: Steps):
    steps.gone = {"good": "adapter good is missing"}
    steps.ask()
    lost = steps.rows().filter(arm="checkpoint")
    assert lost["success"].null_count() == lost.height == 5 and set(lost["infra_error"]) == {"adapter good is missing"}
    steps.lake.replace_partition("checkpoint", [], workflow=WORKFLOW, week=BEFORE)
    assert "nobody" in steps.ask()["asked"].value and steps.rows().height == 0 and steps.servers == 1


def test_an_adapter_of_the_same_week_is_never_asked(steps: Steps):
    judged(steps.lake, {WEEK: "late"})
    entry = row("promotion_log", entry_id="e", week=BEFORE, served_adapter_id="late", kind="override")
    steps.lake.append_new("promotion_log", [entry], workflow=WORKFLOW)
    with pytest.raises(Exception, match="late was trained in week 2026-01-12") as told:
        steps.ask()
    assert isinstance(told.value, (FlywheelError, dg.Failure)) or "may have learned" in str(told.value)


def test_in_a_run_of_the_week_training_waits_for_the_score():
    from flywheel.definitions import defs

    graph = defs.resolve_asset_graph()
    assert dg.AssetKey("prequential_results") in graph.get(dg.AssetKey("checkpoint")).parent_keys
    order = [key for level in graph.toposorted_asset_keys_by_level for key in level]
    assert order.index(dg.AssetKey("prequential_results")) < order.index(dg.AssetKey("checkpoint"))


def test_only_a_confirmed_nothing_to_correct_counts_as_right():
    store = EventStore(":memory:")
    batch = store.open_batch(
        week=WEEK,
        workflow=WORKFLOW,
        version="v",
        item_ids=["right", "open", "policy", "fixed", "upheld", "upset"],
        qa_mode="three",
    )
    for key in ("right", "open", "policy", "upheld", "upset"):
        reason = "policy_gap" if key == "policy" else "not_a_failure"
        play(store, batch, key, ("claim", "ann"), ("submit", "ann", {"unfixable": reason}), CLEAN)
    for key in ("right", "policy"):
        play(store, batch, key, ("start_review", "rob"), ("drop", "rob", {"note": "so it is"}))
    store.append(batch, Event("fixed", "claim", "ann"))
    for key, said in (("upheld", {"confirmed": True}), ("upset", {})):
        dispute = (("start_review", "rob"), ("dispute", "rob", {"reason": "the value is wrong"}))
        play(store, batch, key, *dispute, ("start_adjudication", "joy"), ("drop", "joy", {"note": "n", **said}))
    found = store.batch_of(WEEK, WORKFLOW)
    assert found is not None and found_right(store, found) == {"right", "upheld"}
