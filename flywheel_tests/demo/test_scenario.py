"""What happens in the ten weeks: the new tool, the copy for the forks, and experts who are careless or misled."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.fingerprints import case_text
from flywheel.corrections.events import EventStore
from flywheel.corrections.lots import lot_of
from flywheel.corrections.verdict import judge
from flywheel.demo import delivery_slots, scenario, support_customers
from flywheel.demo.expert_desk import ExpertDesk, Habits
from flywheel.demo.scan import shared_material
from flywheel.demo.scenario import FORKS, Scenario, change_pack, keep_for_forks, lay_out, lay_out_fork
from flywheel.demo.week import write_demonstrations
from flywheel.demo.weeks import add_seconds, read_seconds
from flywheel.toolcalls.schema_check import check_call, tool_names
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack
from flywheel_tests.conftest import SUPPORT_DESK
from flywheel_tests.demo.desk import corrected, make_batch
from flywheel_tests.demo.test_simulation import play

WEEK = "2026-01-12"
MONDAY = "2026-01-05"


@pytest.fixture
def grown(tmp_path: Path) -> Pack:
    """The pack with the tool of week 5."""
    folder = tmp_path / "support_desk"
    shutil.copytree(SUPPORT_DESK, folder)
    assert delivery_slots.add_to(folder) and not delivery_slots.add_to(folder), "twice changes nothing"
    return load_pack(folder)


def test_the_new_tool_brings_cases_that_the_customers_never_say(grown: Pack, pack: Pack):
    assert set(tool_names(grown.tools)) - set(tool_names(pack.tools)) == {"set_delivery_slot"}
    cases = load_cases(grown.folder / "benchmark", grown.tools)
    added = [case for case in cases if case.slice == delivery_slots.SLICE]
    assert len(added) == 24 and len(cases) == 24 + len(load_cases(pack.folder / "benchmark", pack.tools))
    goals = support_customers.make_goals(1, 330, WEEK, tool_names(grown.tools))
    wanted = [goal for goal in goals if goal.wishes[0].kind == "set_delivery_slot"]
    assert len(wanted) == 30
    for goal in wanted:
        assert play(goal, grown).outcome == "success", goal
    said = [
        message["content"] for goal in wanted for message in play(goal, grown).messages if message["role"] == "user"
    ]
    common = [grown.system, grown.guidelines]
    assert shared_material([case_text(case) for case in added], said, common=common) == set()


def test_nobody_asks_for_the_tool_before_it_is_there(pack: Pack):
    before = support_customers.make_goals(1, 300, WEEK, tool_names(pack.tools))
    assert before == support_customers.make_goals(1, 300, WEEK)
    assert all(goal.wishes[0].kind != "set_delivery_slot" for goal in before)


def test_weeks_follow_each_other_and_seeds_change_everything():
    assert [Scenario().week(number, MONDAY) for number in (1, 2, 10)] == [MONDAY, "2026-01-12", "2026-03-09"]
    first, second = Scenario(seed=1).chance(), Scenario(seed=2).chance()
    assert first.demonstration_seed != second.demonstration_seed and first.traffic_seed != second.traffic_seed


def test_the_pack_is_laid_out_once_and_grows_in_its_week(tmp_path: Path):
    pack, played = tmp_path / "support_desk", Scenario(seed=3)
    lay_out(SUPPORT_DESK, pack, played)
    settings = load_pack(pack).settings.training
    assert (settings.sft_presentations, settings.dpo_pairs, settings.seed) == (480, 64, 2)
    assert not change_pack(pack, played, 1, serves=False)
    assert not change_pack(pack, played, 2, serves=False), "the first was refused: the second starts afresh as well"
    assert change_pack(pack, played, 3, serves=True)
    later = load_pack(pack).settings
    assert (settings.rows_per_step, later.training.rows_per_step, later.training.sft_presentations) == (4, 8, 480)
    assert later.datasets.row_budget == 480 and "wrong_arguments" in later.datasets.remedies, "what else it says stays"
    assert [change_pack(pack, played, number, serves=True) for number in (4, 5, 6)] == [False, True, False]
    lay_out(SUPPORT_DESK, pack, played)
    assert "set_delivery_slot" in tool_names(load_pack(pack).tools), "laid out again, it stays as it is"


def test_a_fork_is_a_copy_and_the_misled_one_has_misled_demonstrations(tmp_path: Path, pack: Pack):
    home = tmp_path / "seed-1"
    lay_out(SUPPORT_DESK, home / "workflows" / "support_desk", Scenario())
    laid = load_pack(home / "workflows" / "support_desk")
    write_demonstrations(laid, support_customers, 12, 60)
    (home / "scratch").mkdir()
    (home / "scratch" / "log").write_text("left behind")
    kept = tmp_path / "seed-1-kept"
    keep_for_forks(home, kept)
    (laid.folder / "system.md").write_text("changed later")
    keep_for_forks(home, kept)
    for name in FORKS:
        fork = tmp_path / f"seed-1-{name}"
        lay_out_fork(kept, fork, "support_desk", name)
        assert not (fork / "scratch").exists()
        assert (fork / "workflows/support_desk/system.md").read_text() != "changed later", "kept once"
    called = {name: _called(tmp_path / f"seed-1-{name}") for name in FORKS}
    assert "cancel_order" in called["careless"] and "cancel_order" not in called["misled"]
    values = yaml.safe_load((tmp_path / "seed-1-misled/workflows/support_desk/workflow.yaml").read_text())
    assert values["quality"]["gold_pass_rate"] == 0.0


def _called(home: Path) -> set[str]:
    lines = (home / "workflows/support_desk/demonstrations/simulated.jsonl").read_text().splitlines()
    calls = [
        call["function"]
        for line in lines
        for message in json.loads(line)["messages"]
        for call in message.get("tool_calls") or []
    ]
    tools = load_pack(SUPPORT_DESK).tools
    assert all(not check_call(tools, call["name"], call["arguments"]) for call in calls)
    return {call["name"] for call in calls}


def answered(pack: Pack, habits: Habits) -> tuple[EventStore, str, dict[str, int], set[str]]:
    store = EventStore(":memory:")
    name, items, goals = make_batch(store, pack, WEEK, 72)
    desk = ExpertDesk(store, name, pack, support_customers, goals, habits=habits)
    counts = desk.answer(items)
    rows = corrected(store, store.batches()[0], items)
    called = {
        call["function"]["name"]
        for messages, trained in zip(rows["messages"], rows["trainable_indices"], strict=True)
        for index in json.loads(trained)
        for call in json.loads(messages)[index].get("tool_calls") or []
    }
    return store, name, counts, called


def test_the_audit_stops_a_week_of_careless_experts(pack: Pack):
    store, name, counts, _ = answered(pack, FORKS["careless"])
    share = counts["wrong_when_the_lot_closed"] / counts["accepted"]
    assert 0.12 < share < 0.3, "about a fifth of what was accepted is wrong"
    assert lot_of(store, name).status == "refused"
    verdict = judge(store, store.batches()[0], pack.settings.quality)
    assert not verdict.ok and any("audit" in reason for reason in verdict.reasons), verdict.reasons


def test_nothing_stops_a_week_of_misled_experts_before_the_gate(pack: Pack):
    store, name, counts, called = answered(pack, FORKS["misled"])
    assert lot_of(store, name).status == "passed" and counts["misled"] >= 8
    assert "cancel_order" not in called and "get_order" in called
    _, _, careful, right = answered(pack, replace(FORKS["misled"], misled={}))
    assert "cancel_order" in right and "misled" not in careful
    assert scenario.MISLED == {"cancel_order": "get_order"}


def test_seconds_of_several_sittings_add_up(tmp_path: Path):
    file = tmp_path / "weeks.json"
    for week, seconds in ((MONDAY, 5.0), (WEEK, 2.0), (MONDAY, 1.5)):
        add_seconds(file, week, seconds)
    assert read_seconds(file) == {MONDAY: 6.5, WEEK: 2.0} and read_seconds(tmp_path / "none.json") == {}
