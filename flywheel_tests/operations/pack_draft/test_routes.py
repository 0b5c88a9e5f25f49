"""Several workflows in one log: told apart, each run read once by the pack it belongs to, strangers quarantined."""

from collections import Counter
from pathlib import Path

import pytest

from flywheel.errors import FlywheelError
from flywheel.operations.pack_draft.draft import draft_pack
from flywheel.operations.pack_draft.routes import split
from flywheel.traces.sample import sample
from flywheel.workflows.guesses import open_guesses
from flywheel.workflows.loader import load_pack
from flywheel_tests.operations.pack_draft.logs import run, sampled, tool, write
from flywheel_tests.operations.pack_draft.test_prompt import HOTEL, SHOP

ORDER = [("get_order", {"order_id": "R1"}, "{}")]
WAKE = [("set_alarm", {"room": 4}, "{}")]


def shop(number: int, **fields) -> dict:
    return run(number, ORDER, system=SHOP.format(f"2026-01-{number % 28 + 1:02d}"), **fields)


def hotel(number: int, **fields) -> dict:
    return run(number, WAKE, system=HOTEL, **fields)


def test_two_agents_in_one_log_are_told_by_their_prompts(tmp_path: Path):
    read = sampled(tmp_path, [shop(n) for n in range(30)] + [hotel(n + 100) for n in range(20)])
    first, second = split(read.runs).groups
    assert (first.name, len(first.runs), second.name, len(second.runs)) == ("workflow_1", 30, "workflow_2", 20)
    assert (
        first.route["system_contains"] == "You keep the orders of a small shop."
    )  # not the part that changes every day
    assert second.route["system_contains"] in HOTEL


def test_a_workload_id_outweighs_the_prompt_and_rare_ones_get_no_route(tmp_path: Path):
    logged = [shop(n, workload_id="Refund Desk") for n in range(60)] + [
        shop(n + 100, workload_id="returns") for n in range(60)
    ]
    found = split(sampled(tmp_path, [*logged, shop(500, workload_id="test"), shop(501)]).runs)
    assert {group.name: group.route for group in found.groups} == {
        "refund_desk": {"workflow": "refund_desk", "workload_id": ["Refund Desk"]},
        "returns": {"workflow": "returns", "workload_id": ["returns"]},
    }
    assert len(found.rest) == 2


def test_a_name_that_is_new_in_each_run_tells_nothing(tmp_path: Path):
    for field in ("agent", "workload_id"):
        alike = split(sampled(tmp_path, [shop(n, **{field: f"session-{n}"}) for n in range(60)]).runs)
        assert [(len(group.runs), group.route) for group in alike.groups] == [(60, {})] and alike.rest == []
    runs = [shop(n, agent=f"user-{n}") for n in range(30)] + [hotel(n, agent=f"user-{n}") for n in range(50, 70)]
    first, second = split(sampled(tmp_path, runs).runs).groups
    assert [len(first.runs), len(second.runs)] == [30, 20] and set(first.route) == {"workflow", "system_contains"}


def test_where_many_runs_have_no_name_and_the_others_one_each_no_route_asks_for_none(tmp_path: Path):
    runs = [shop(n, **({"agent": f"session-{n}"} if n % 5 < 3 else {})) for n in range(60)]
    draft = draft_pack(tmp_path / "shop", sampled(tmp_path, runs))
    assert len(draft.runs) == 60 and load_pack(tmp_path / "shop").settings.traces.routes == []


def test_a_useless_workload_id_leaves_the_agents_name_to_decide(tmp_path: Path):
    runs = [shop(n, workload_id=f"job-{n}", agent=("sales", "refunds")[n % 3 == 0]) for n in range(60)]
    groups = split(sampled(tmp_path, runs).runs).groups
    assert [(group.route["agent_name"], len(group.runs)) for group in groups] == [(["sales"], 40), (["refunds"], 20)]


def test_two_agents_are_told_by_name_though_some_runs_carry_none_or_a_rare_one(tmp_path: Path):
    named = [shop(n, agent=("sales", "refunds")[n % 2]) for n in range(60)]
    rare = [shop(n, agent=f"trial-{n}") for n in range(60, 70)]
    found = split(sampled(tmp_path, [*named, *rare, *[shop(n) for n in range(70, 100)]]).runs)
    assert sorted(group.name for group in found.groups) == ["refunds", "sales"] and len(found.rest) == 40
    more = [shop(n, agent=f"trial-{n}") for n in range(100, 110)]  # now a fourth of the named runs
    assert [len(group.runs) for group in split(sampled(tmp_path, [*named, *rare, *more]).runs).groups] == [80]


def test_another_prompt_over_the_same_tools_is_the_same_workflow(tmp_path: Path):
    runs = [shop(n) for n in range(10)] + [
        run(n, ORDER, system="Answer in verse. Nothing else matters here, my friend.") for n in range(20, 30)
    ]
    assert [len(group.runs) for group in split(sampled(tmp_path, runs).runs).groups] == [20]


def test_without_prompts_the_tools_decide(tmp_path: Path):
    offered = [run(n, ORDER, system="", tools=[tool("get_order")]) for n in range(10)]
    runs = [*offered, *[run(n, WAKE, system=HOTEL, tools=[tool("set_alarm")]) for n in range(20, 28)]]
    groups = split(sampled(tmp_path, runs).runs).groups
    assert groups[0].route == {"workflow": "workflow_1", "tools": ["get_order"]}


def test_one_workflow_gets_no_route(tmp_path: Path):
    draft_pack(tmp_path / "shop", sampled(tmp_path, [shop(n) for n in range(30)]))
    assert load_pack(tmp_path / "shop").settings.traces.routes == []


def test_a_pack_is_drafted_from_its_own_runs_alone(tmp_path: Path):
    read = sampled(tmp_path, [shop(n) for n in range(30)] + [hotel(n + 100) for n in range(20)])
    draft = draft_pack(tmp_path / "porter", read, workflow="workflow_2")
    pack = load_pack(tmp_path / "porter")
    assert [one["function"]["name"] for one in pack.tools] == ["set_alarm"] and pack.system == HOTEL
    assert [route.workflow for route in pack.settings.traces.routes] == ["workflow_1", "porter"]
    assert "routes" in {guess.id for guess in open_guesses(tmp_path / "porter")}
    assert any("30 runs are workflow_1" in remark for remark in draft.remarks)
    with pytest.raises(FlywheelError, match="no workflow 'ghost' in the log"):
        draft_pack(tmp_path / "other", read, workflow="ghost")


def test_each_run_of_a_shared_log_is_read_by_one_pack_and_strangers_are_quarantined(tmp_path: Path, lake):
    from flywheel_tests.traces.test_inbox import WEEK, account
    from flywheel_tests.traces.test_inbox import read as read_week

    stranger = run(900, [("x", {}, "")], system="Somebody else's agent.")
    logged = [shop(n) for n in range(60)] + [hotel(n + 100) for n in range(40)]
    log = write(tmp_path / "in" / "log.jsonl", [*logged, stranger])
    draft_pack(tmp_path / "desk", sample(log))
    routes = load_pack(tmp_path / "desk").settings.traces.routes
    reading = read_week(tmp_path / "in", lake, routes=routes)
    assert account(reading) == (101, 60, 0, 1) and len(reading.traces[WEEK]) == 60
    assert [row["other_workflow"] for row in reading.ledger] == [40]
    assert [(row["reason_code"], row["source_line"]) for row in reading.quarantined[WEEK]] == [("unrouted", 101)]
    mended = [*routes, routes[0].model_copy(update={"system_contains": "Somebody else"})]
    again = read_week(tmp_path / "in", lake, routes=mended)
    assert account(again) == (101, 61, 0, 0)  # other routes: the same file is read again


def test_calls_of_a_shared_gateway_are_routed_as_runs(tmp_path: Path, lake):
    from flywheel_tests.traces.test_inbox import account
    from flywheel_tests.traces.test_inbox import read as read_week

    def call(number: int, system: str) -> dict:
        asked = [{"role": "system", "content": system}, {"role": "user", "content": f"question {number}"}]
        answer = {"id": f"r{number}", "choices": [{"message": {"role": "assistant", "content": "yes"}}]}
        return {"request": {"model": "m", "messages": asked}, "response": answer, "timestamp": 1_767_700_000 + number}

    write(tmp_path / "in" / "log.jsonl", [call(1, "You are A."), call(2, "You are B."), call(3, "You are C.")])
    from flywheel.workflows.route import Route

    routes = [Route(workflow="desk", system_contains="are A"), Route(workflow="b", system_contains="are B")]
    reading = read_week(tmp_path / "in", lake, routes=routes)
    assert account(reading) == (3, 1, 0, 1) and reading.ledger[0]["other_workflow"] == 1
    assert Counter(row["reason_code"] for rows in reading.quarantined.values() for row in rows) == {"unrouted": 1}
