"""Score one assistant step: the calls a case expects, a reply that says what it must, or a structured answer with the right fields."""

from typing import Any

from flywheel.benchmark.cases import AnswerExpectation, CallExpectation, Case, ExpectedCall, ReplyExpectation
from flywheel.benchmark.matchers import Call, match_arguments, match_calls
from flywheel.evaluation.scorers.bfcl_compat import bfcl_match, possible_answers
from flywheel.evaluation.scorers.outputs import says
from flywheel.evaluation.scorers.score import Score, calls_of, parsed, writes
from flywheel.evaluation.scorers.trajectory import matched_pairs, trajectory_match
from flywheel.toolcalls.structured_answers import ResponseSchema, answer_fields, check_answer


def score_step(
    case: Case, message: dict[str, Any], tools: list[dict[str, Any]], response: ResponseSchema | None = None
) -> Score:
    """Scores of `message`, the assistant step after the case's history (call, reply and answer expectations).

    Args:
        response: the schema an answer expectation names; where the pack has lost it, the fields decide alone.
    """
    expectation = case.expectation
    if expectation.kind == "call":
        return _score_calls(expectation, message, tools)
    if expectation.kind == "reply":
        calls = calls_of([message])
        reason = _reply_reason(expectation, message, len(calls))
        return Score(reason is None, reason, None, None, 0, len(calls), 0, writes(calls, tools), False)
    if expectation.kind == "answer":
        calls = calls_of([message])
        reason = _answer_reason(expectation, message, len(calls), response)
        return Score(reason is None, reason, None, None, 0, len(calls), 0, writes(calls, tools), False)
    raise ValueError(f"case {case.id} is an episode; score it with score_episode")


def _score_calls(expectation: CallExpectation, message: dict[str, Any], tools: list[dict[str, Any]]) -> Score:
    calls = calls_of([message])
    made = parsed(calls)
    match = match_calls([(call.name, call.arguments) for call in expectation.calls], made)
    expected_names = {call.name for call in expectation.calls}
    answers = [possible_answers(call) for call in expectation.calls]
    compatible = [
        (call.name, found) for call, found in zip(expectation.calls, answers, strict=True) if found is not None
    ]
    return Score(
        success=match.arguments,
        reason=match.reason,
        tool_selection=match.selection,
        arguments_match=match.arguments,
        expected_calls=len(expectation.calls),
        compared_calls=len(calls),
        matched_calls=matched_pairs(made, expectation.calls, _same),
        forbidden_calls=writes([call for call in calls if call["function"]["name"] not in expected_names], tools),
        expects_call=True,
        bfcl_compat=bfcl_match(compatible, made, tools) if len(compatible) == len(answers) else None,
        trajectory=trajectory_match([made] if made else [], [expectation.calls], _same),
    )


def _same(expected: ExpectedCall, made: Call) -> bool:
    return expected.name == made.name and not match_arguments(expected.arguments, made.arguments)


def _answer_reason(
    expectation: AnswerExpectation, message: dict[str, Any], calls: int, response: ResponseSchema | None
) -> str | None:
    """The first reason why the step is not the right answer, with the field's name."""
    if calls:
        return "made a call where a structured answer is right"
    content = str(message.get("content") or "")
    errors = check_answer(response, content) if response else []
    if errors:
        return f"{expectation.response}{'.' if errors[0].path else ''}{errors[0].path.replace('/', '.')}: {errors[0].message}"
    fields = answer_fields(content)
    if fields is None:
        return f"{expectation.response}: the answer is no JSON object"
    wrong = match_arguments(expectation.fields, fields)
    return f"{expectation.response}: {'; '.join(wrong)}" if wrong else None


def _reply_reason(expectation: ReplyExpectation, message: dict[str, Any], calls: int) -> str | None:
    if calls:
        return "made a call where none is right"
    said = str(message.get("content") or "")
    if not said.strip():
        return "said nothing"
    for group in expectation.includes:
        if not any(says(said, phrase) for phrase in group):
            return f"did not say any of: {', '.join(group)}"
    excluded = [phrase for phrase in expectation.excludes if says(said, phrase)]
    return f"said {excluded[0]!r}" if excluded else None
