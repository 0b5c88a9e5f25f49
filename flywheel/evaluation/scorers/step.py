"""Score one assistant step: the calls a case expects, or a reply that says what it must."""

from typing import Any

from flywheel.benchmark.cases import Case, ReplyExpectation
from flywheel.benchmark.matchers import match_calls
from flywheel.evaluation.scorers.score import Score, calls_of, parsed, schema_valid, writes


def score_step(case: Case, message: dict[str, Any], tools: list[dict[str, Any]]) -> Score:
    """Scores of `message`, the assistant step after the case's history (call and reply expectations)."""
    calls = calls_of([message])
    valid = schema_valid(calls, tools)
    expectation = case.expectation
    if expectation.kind == "call":
        match = match_calls([(call.name, call.arguments) for call in expectation.calls], parsed(calls))
        expected_writes = {call.name for call in expectation.calls}
        forbidden = writes([call for call in calls if call["function"]["name"] not in expected_writes], tools)
        return Score(match.arguments, match.reason, len(calls), valid, match.selection, match.arguments, forbidden)
    if expectation.kind == "reply":
        reason = _reply_reason(expectation, message, len(calls))
        return Score(reason is None, reason, len(calls), valid, None, None, writes(calls, tools))
    raise ValueError(f"case {case.id} is an episode; score it with score_episode")


def _reply_reason(expectation: ReplyExpectation, message: dict[str, Any], calls: int) -> str | None:
    if calls:
        return "made a call where none is right"
    said = str(message.get("content") or "").casefold()
    for group in expectation.includes:
        if not any(phrase.casefold() in said for phrase in group):
            return f"did not say any of: {', '.join(group)}"
    excluded = [phrase for phrase in expectation.excludes if phrase.casefold() in said]
    return f"said {excluded[0]!r}" if excluded else None
