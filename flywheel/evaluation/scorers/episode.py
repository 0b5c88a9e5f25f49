"""Score a whole episode as tau-bench does: the end state after the gold actions, and what had to be said."""

from collections.abc import Sequence
from typing import Any

from flywheel.benchmark.cases import Case
from flywheel.benchmark.matchers import equal
from flywheel.evaluation.scorers.score import Score, calls_of, schema_valid, writes


def score_episode(
    case: Case,
    transcript: Sequence[dict[str, Any]],
    final_state: dict[str, Any],
    gold_state: dict[str, Any],
    ended: bool,
    tools: list[dict[str, Any]],
) -> Score:
    """Scores of a transcript (history included) that left the world in `final_state`.

    Gold actions are one reference path: only their end state counts, not their order. `ended` is False when the step
    budget ran out.
    """
    expectation = case.expectation
    if expectation.kind != "episode":
        raise ValueError(f"case {case.id} is no episode; score it with score_step")
    made = calls_of(transcript[len(case.messages) :])
    gold_tools = {action.name for action in expectation.actions}
    forbidden = writes([call for call in made if call["function"]["name"] not in gold_tools], tools)
    said = "\n".join(
        str(message.get("content") or "")
        for message in transcript[len(case.messages) :]
        if message["role"] == "assistant"
    ).casefold()
    unsaid = [output for output in expectation.outputs if output.casefold() not in said]
    reached = equal(gold_state, final_state)
    reason = None
    if not ended:
        reason = f"did not finish within {expectation.max_steps} steps"
    elif not reached:
        reason = "the end state differs from that of the gold actions"
    elif unsaid:
        reason = f"did not say {unsaid[0]!r}"
    selection = gold_tools <= {call["function"]["name"] for call in made}
    return Score(reason is None, reason, len(made), schema_valid(made, tools), selection, reached, forbidden)
