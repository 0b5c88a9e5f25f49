"""Gold actions: what the source says should have been done, against what was done. Only calls that change something count.

The gold path is one of many, so it is asked only where no label calls the run a success.
"""

from collections.abc import Iterator
from typing import Any

from flywheel.detectors.finding import Call, Finding, Run
from flywheel.detectors.user_corrections import user_left
from flywheel.toolcalls.arguments import parse_arguments


def off_gold(run: Run) -> Iterator[Finding]:
    """The first way in which the run's writes differ from the gold ones.

    should_have_refused: a write where the gold has none; gold_arguments: the right tool with other arguments; missing_call,
    different_tool and extra_call: the tools differ; missing_output: the writes agree, so something was not said.
    """
    if run.expected_actions is None or run.ends_well is not False:
        return
    wanted = [action for action in run.expected_actions if action["name"] in run.toolbox.writing]
    made = [call for call in run.own_calls if call.name in run.toolbox.writing and call.error is None]
    open_wanted, extra = list(wanted), []
    for call in made:
        match = next((action for action in open_wanted if _agrees(action, call)), None)
        if match is not None:
            open_wanted.remove(match)
        else:
            extra.append(call)
    yield from _difference(run, wanted, open_wanted, extra)


def _difference(
    run: Run, wanted: list[dict[str, Any]], missing: list[dict[str, Any]], extra: list[Call]
) -> Iterator[Finding]:
    if extra and not wanted:
        call = extra[0]
        said = f"{call.name} changed something where the gold changes nothing"
        yield Finding(
            call.index, "refusal_error", "should_have_refused", "agent", call.name, "should_have_refused", said
        )
    elif extra:
        call = extra[0]
        rivals = [action for action in missing if action["name"] == call.name]
        if rivals:
            said = f"{call.name} was called with other arguments than the gold: {_differs(rivals[0], call)}"
            yield Finding(call.index, "wrong_arguments", "gold_arguments", "agent", call.name, "gold_arguments", said)
        else:
            kind = "different_tool" if missing else "extra_call"
            instead = f" instead of {missing[0]['name']}" if missing else ""
            yield Finding(
                call.index,
                "wrong_tool_selection",
                kind,
                "agent",
                call.name,
                kind,
                f"{call.name} is no gold action{instead}",
            )
    elif missing:
        fault = "inconclusive" if next(iter(user_left(run)), None) else "agent"
        name = missing[0]["name"]
        said = f"the gold calls {name}, the run never did"
        yield Finding(run.last_assistant(), "wrong_tool_selection", "missing_call", fault, name, "missing_call", said)
    else:
        said = "all gold changes were made and the run still failed: something was not said, or the grader is wrong"
        yield Finding(
            run.last_assistant(), "misread_tool_output", "missing_output", "inconclusive", None, "missing_output", said
        )


def _agrees(action: dict[str, Any], call: Call) -> bool:
    return action["name"] == call.name and parse_arguments(call.arguments).value == action["arguments"]


def _differs(action: dict[str, Any], call: Call) -> str:
    made = parse_arguments(call.arguments).value or {}
    names = [name for name in {**action["arguments"], **made} if action["arguments"].get(name) != made.get(name)]
    return ", ".join(names[:5])
