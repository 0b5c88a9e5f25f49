"""Tasks of tau-bench and tau2: played in the pack's environment before they are taken, and never run as code."""

import json
from pathlib import Path

import pytest

from flywheel.benchmark.importers.run import import_file
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack
from flywheel_tests.benchmark.test_importers import TASK, lines


def without_environment(pack: Pack) -> Pack:
    (pack.folder / "environment.py").unlink()
    return pack


def test_tau_tasks_without_an_environment(mine: Pack, tmp_path: Path):
    mine = without_environment(mine)
    tasks = [TASK, {**TASK, "actions": []}, {**TASK, "actions": TASK["actions"] * 2}, {**TASK, "actions": [{"name": "fly", "kwargs": {}}]}, {"instruction": 5, "actions": []}, 7,
             {"task_id": 0, "info": {"task": TASK}, "traj": []}, {"task_id": 0, "info": {"task": TASK}, "traj": []}]  # fmt: skip
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(tasks))
    found = import_file(mine, file, "tau")
    assert found.read == 8 == len(found.cases) + len(found.refused)
    assert [case.expectation.kind for case in found.cases] == ["call"] and found.cases[0].messages[0][
        "content"
    ] == TASK["instruction"]
    said = " ".join(reason for _, reason in found.refused)
    for reason in (
        "environment.py",
        "unknown tool",
        "no instruction",
        "no object",
        "another trial",
        "shows at the end only",
    ):
        assert reason in said, reason


def test_tau_tasks_with_an_environment_are_played_before_they_are_taken(mine: Pack, tmp_path: Path):
    world = mine.environment(3, {}).state()["orders"]
    order = next(key for key, one in world.items() if one["status"] == "processing")
    good = {
        **TASK,
        "actions": [{"name": "cancel_order", "kwargs": {"order_id": order, "reason": "other"}}],
        "outputs": ["5"],
    }
    file = lines(tmp_path / "t.jsonl", good, TASK)
    found = import_file(mine, file, "tau", seed=3)
    (case,) = found.cases
    assert (
        case.expectation.kind == "episode"
        and case.expectation.environment.seed == 3
        and case.expectation.outputs == ["5"]
    )
    assert "ORDER_NOT_FOUND" in found.refused[0][1]


def test_tau_bench_python_files_are_parsed_and_never_run(mine: Pack, tmp_path: Path):
    mine = without_environment(mine)
    file = tmp_path / "tasks_test.py"
    marker = tmp_path / "ran"
    file.write_text(f"open({str(marker)!r}, 'w')\nTASKS = [Task(annotator='0', user_id='u', instruction='Cancel R1.', actions=[Action(name='cancel_order', "
                    f"kwargs={{'order_id': 'R1', 'reason': 'other'}})], outputs=[]), Task(instruction=open('x'), actions=[])]\n")  # fmt: skip
    found = import_file(mine, file, "tau")
    assert len(found.cases) == 1 and "no literals" in found.refused[0][1] and not marker.exists()
    file.write_text("x = 1")
    with pytest.raises(FlywheelError, match=r"no Task"):
        import_file(mine, file, "tau")


def test_tau2_tasks(mine: Pack, tmp_path: Path):
    mine = without_environment(mine)
    scenario = {
        "instructions": {"reason_for_call": "Cancel R1.", "known_info": "Order R1.", "task_instructions": "Be short."}
    }
    act = {"action_id": "a", "name": "cancel_order", "arguments": {"order_id": "R1", "reason": "other"}}

    def task(own_id: str, **criteria) -> dict:
        return {
            "id": own_id,
            "user_scenario": {"instructions": {**scenario["instructions"], "unknown_info": own_id}},
            "evaluation_criteria": criteria,
        }

    loose = {**act, "compare_args": ["order_id"]}
    tasks = [task("1", actions=[loose]), task("2", actions=[{**act, "requestor": "user"}]), task("3", communicate_info=["42"]), task("4", nl_assertions=["polite"]),
             {**task("5", actions=[act]), "initial_state": {"initialization_data": {"x": 1}}}, {**task("6", actions=[act]), "user_scenario": None}]  # fmt: skip
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(tasks))
    found = import_file(mine, file, "tau2")
    assert [case.id for case in found.cases] == ["tau2-1"] and found.read == 6 == len(found.refused) + 1
    (call,) = found.cases[0].expectation.model_dump()["calls"]
    assert call["arguments"] == {"order_id": {"exact": "R1"}, "reason": {"ignore": "tau2 does not compare it"}}
    assert found.cases[0].messages[0]["content"] == "Cancel R1.\nOrder R1.\n1\nBe short."
