"""tau-bench and tau2 tasks: the customer's instruction as the first message, gold actions as the end to reach.

With an `environment.py` a task becomes an episode, its end state that of the gold actions, as its authors judge it. Without one only a task
of one action can be judged, as a call that must come next, which is stricter: looking up first is wrong then. The others are refused: what
several actions lead to, or that nothing was to be done, only an episode shows.
"""

from typing import Any, NamedTuple

from flywheel.benchmark.importers.records import Record, Refused
from flywheel.benchmark.skeletons import BUCKETS, call_expectation
from flywheel.workflows.pack import Pack

# An episode may take so many steps for each gold action, besides the first and the last: looking up before acting is right.
_STEPS_AN_ACTION = 3
_MOST_STEPS = 20


class _Action(NamedTuple):
    name: str
    arguments: dict[str, Any]
    left_out: list[str]  # arguments that are not compared


def tau_case(record: Record, pack: Pack, seed: int) -> dict[str, Any]:
    """A task of tau-bench, or the task of one of its results, as JSON values; raises Refused with the reason."""
    value = record.value
    if not isinstance(value, dict):
        raise Refused("it is no object")
    task = value["info"].get("task") if isinstance(value.get("info"), dict) else value
    if (
        not isinstance(task, dict)
        or not isinstance(task.get("instruction"), str)
        or not isinstance(task.get("actions"), list)
    ):
        raise Refused("it has no instruction and actions")
    actions = [_action(action, "kwargs") for action in task["actions"]]
    own_id = value.get("task_id", record.where.split()[-1])
    return _case(
        f"tau-{own_id}", task["instruction"], actions, [str(output) for output in task.get("outputs") or []], pack, seed
    )


def tau2_case(record: Record, pack: Pack, seed: int) -> dict[str, Any]:
    """A task of tau2 as JSON values; raises Refused with the reason."""
    task = record.value
    if not isinstance(task, dict) or "evaluation_criteria" not in task:
        raise Refused("it is no task of tau2")
    criteria = task["evaluation_criteria"] or {}
    if any((task.get("initial_state") or {}).values()):
        raise Refused("it begins in a state of its own, which is no world of environment.py")
    given = [action for action in criteria.get("actions") or [] if isinstance(action, dict)]
    if any(action.get("requestor", "assistant") != "assistant" for action in given):
        raise Refused("the customer acts in it, too")
    if criteria.get("nl_assertions") and not given and not criteria.get("communicate_info"):
        raise Refused("it is judged by sentences, which only a model could read")
    instruction = _instruction((task["user_scenario"] or {}).get("instructions"))
    outputs = [str(one) for one in criteria.get("communicate_info") or []]
    return _case(
        f"tau2-{task.get('id')}", instruction, [_action(action, "arguments") for action in given], outputs, pack, seed
    )


def _instruction(given: Any) -> str:
    if isinstance(given, dict):
        parts = [given.get(key) for key in ("reason_for_call", "known_info", "unknown_info", "task_instructions")]
        given = "\n".join(str(part).strip() for part in parts if part)
    if not isinstance(given, str) or not given.strip():
        raise Refused("it has no instructions for the customer")
    return given


def _action(action: Any, arguments: str) -> _Action:
    if (
        not isinstance(action, dict)
        or not isinstance(action.get("name"), str)
        or not isinstance(action.get(arguments), dict)
    ):
        raise Refused(f"an action has no name and {arguments}")
    compared = action.get("compare_args")  # tau2 only; without it all are compared
    left_out = [] if compared is None else [name for name in action[arguments] if name not in compared]
    return _Action(action["name"], action[arguments], left_out)


def _case(case_id: str, said: str, actions: list[_Action], outputs: list[str], pack: Pack, seed: int) -> dict[str, Any]:
    if pack.has_environment():
        category = "multi_step"
        expectation: dict[str, Any] = {
            "kind": "episode", "environment": {"seed": seed}, "outputs": outputs,
            "actions": [{"name": action.name, "arguments": action.arguments} for action in actions],
            "max_steps": min(_MOST_STEPS, 2 + _STEPS_AN_ACTION * max(1, len(actions))),
        }  # fmt: skip
    elif len(actions) == 1:
        (only,) = actions
        category, expectation = "tool_calling", call_expectation(only.name, only.arguments)
        expectation["calls"][0]["arguments"] |= {name: {"ignore": "tau2 does not compare it"} for name in only.left_out}
    else:
        what = (
            f"its {len(actions)} gold actions end in a state"
            if actions
            else "that nothing is to be done shows at the end only"
        )
        raise Refused(f"{what}, and the pack has no environment.py to play it in")
    name = "".join(character if character.isalnum() else "-" for character in case_id.lower())[:80]
    return {
        "id": name, "cluster": name, "category": category, "messages": [{"role": "user", "content": said}], "expectation": expectation,
        "exercises": {"buckets": BUCKETS[category], "tools": sorted({action.name for action in actions})},
        "tags": [case_id.split("-")[0]],
    }  # fmt: skip
