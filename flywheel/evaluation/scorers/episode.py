"""Score a whole episode as tau-bench does: the end state after the gold actions, and what had to be said."""

from collections.abc import Sequence
from typing import Any

from flywheel.benchmark.cases import Action, Case
from flywheel.benchmark.matchers import Call, equal
from flywheel.evaluation.scorers.outputs import says
from flywheel.evaluation.scorers.score import Score, calls_of, parsed, writes, writing_tools
from flywheel.evaluation.scorers.state import difference
from flywheel.evaluation.scorers.trajectory import matched_pairs, trajectory_match
from flywheel.toolcalls.results import tool_error


def score_episode(
    case: Case,
    own: Sequence[dict[str, Any]],
    states: tuple[dict[str, Any], dict[str, Any]],
    ended: bool,
    tools: list[dict[str, Any]],
    volatile: Sequence[str] = (),
) -> Score:
    """Scores of `own`, the messages after the case's history.

    Gold actions are one reference path: only their end state counts, not their order; the calls that are held against
    them are the writes that worked. `ended` is False when the step budget ran out.

    Args:
        states: the world after the gold actions, and after the run.
        volatile: fields of the state that are not compared.
    """
    expectation = case.expectation
    if expectation.kind != "episode":
        raise ValueError(f"case {case.id} is no episode; score it with score_step")
    calls = calls_of(own)
    gold_tools = {action.name for action in expectation.actions}
    said = "\n".join(str(message.get("content") or "") for message in own if message["role"] == "assistant")
    unsaid = [output for output in expectation.outputs if not says(said, output)]
    differs = difference(*states, volatile)
    reason = None
    if not ended:
        reason = f"did not finish within {expectation.max_steps} steps"
    elif differs:
        reason = f"the end state differs from that of the gold actions: {differs}"
    elif unsaid:
        reason = f"did not say {unsaid[0]!r}"
    writing = writing_tools(tools)
    gold = [action for action in expectation.actions if action.name in writing]
    made = parsed(_worked(own, writing))
    paired = matched_pairs(made, gold, _same)
    return Score(
        success=reason is None,
        reason=reason,
        tool_selection=gold_tools <= {call["function"]["name"] for call in calls},
        arguments_match=paired == len(gold) == len(made),
        expected_calls=len(gold),
        compared_calls=len(made),
        matched_calls=paired,
        forbidden_calls=writes([call for call in calls if call["function"]["name"] not in gold_tools], tools),
        expects_call=True if expectation.actions else None,
        trajectory=trajectory_match(
            [parsed(message["tool_calls"]) for message in own if message.get("tool_calls")],
            [[action] for action in expectation.actions], _same,
        ),
    )  # fmt: skip


def _same(gold: Action, made: Call) -> bool:
    return gold.name == made.name and equal(gold.arguments, made.arguments)


def _worked(own: Sequence[dict[str, Any]], writing: set[str]) -> list[dict[str, Any]]:
    """Calls of writing tools whose result is no error."""
    failed = {message["tool_call_id"] for message in own if message["role"] == "tool" and tool_error(message)}
    return [call for call in calls_of(own) if call["function"]["name"] in writing and call["id"] not in failed]
