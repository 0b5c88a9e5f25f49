"""Why a case failed, in the vocabulary of triage: bucket and sub-kind on the critical step, all tags kept.

The detectors of triage look at what the model did; what the case expects adds the rest. Buckets, their order and the
critical step are those of `flywheel.detectors` (after tau2's judge tags and AgentRx), with two differences that the
expectation brings: a step that was cut off is named for that, and what follows a tool error is bad recovery before it is a wrong tool.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flywheel.benchmark.cases import Case
from flywheel.detectors.finding import BUCKETS, Finding, Rules, Run, Toolbox
from flywheel.detectors.gold_actions import off_gold
from flywheel.detectors.grounding import ungrounded_arguments
from flywheel.detectors.incomplete_results import claimed_success_over_incomplete_result
from flywheel.detectors.policies import forbidden_without
from flywheel.detectors.schemas import invalid_calls, unparsed_calls
from flywheel.detectors.structured_answers import invalid_answers, ungrounded_answers
from flywheel.detectors.tool_errors import claimed_success_after_error, repeated_call, unresolved_error
from flywheel.evaluation.scorers.score import Score, calls_of
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.results import tool_error
from flywheel.toolcalls.structured_answers import answer_fields, check_answer

_DETECTORS = (
    invalid_calls, unparsed_calls, invalid_answers, ungrounded_arguments, ungrounded_answers, forbidden_without, repeated_call,
    claimed_success_after_error, claimed_success_over_incomplete_result, unresolved_error, off_gold,
)  # fmt: skip
_REFUSES = re.compile(
    r"\b(?:cannot|can't|can not|unable|not able|only help|not allowed|won't|will not|sorry|unfortunately)\b", re.I
)
_CUT_OFF = ("max_steps", "max_tokens", "context_length", "empty_turn")


class Failure(NamedTuple):
    """What went wrong: bucket and sub-kind of the critical step, whose fault, all buckets seen, and the index in the transcript."""

    bucket: str
    sub_kind: str
    fault: str
    tags: list[str]
    message_index: int


class Told(NamedTuple):
    """A run as it is stored: the transcript after the system prompt, the finish reason of each step, and why it stopped."""

    transcript: list[dict[str, Any]]
    finish_reasons: list[str]
    stop_reason: str


def classify(case: Case, run: Told, score: Score, toolbox: Toolbox, system: str) -> Failure:
    """Name the failure of a case that did not succeed."""
    start = len(case.messages)
    cut = list(_cut_off(run, start))
    cut_steps = {finding.message_index for finding in cut}
    seen = [f for f in _detected(case, run, toolbox, system) if f.message_index >= start]
    seen = [f for f in seen if f.message_index not in cut_steps or f.sub_kind != "unparsed_call"]
    findings = [*cut, *seen, *_unmet(case, run, score, seen, toolbox)]
    first = min(findings, key=_order)
    tags = sorted({finding.bucket for finding in findings}, key=BUCKETS.index)
    return Failure(first.bucket, first.sub_kind, first.fault, tags, first.message_index)


def _order(finding: Finding) -> tuple[bool, int, float]:
    """The earliest step that is the agent's fault; on one step the order of BUCKETS, but for the two differences above."""
    place = float(BUCKETS.index(finding.bucket))
    if finding.sub_kind in _CUT_OFF:
        place = -1.0
    elif finding.bucket == "bad_recovery":
        place = 0.5
    return finding.fault != "agent", finding.message_index, place


def _cut_off(run: Told, start: int) -> Iterator[Finding]:
    """Steps that ended before the model was done."""
    steps = [
        number for number, message in enumerate(run.transcript) if number >= start and message["role"] == "assistant"
    ]
    for index, reason in zip(steps, run.finish_reasons, strict=False):
        message = run.transcript[index]
        if reason == "length":
            yield _of(index, "premature_termination", "max_tokens", "the step reached max_tokens")
        elif not message.get("tool_calls") and not str(message.get("content") or "").strip():
            yield _of(index, "premature_termination", "empty_turn", "the step neither calls nor says anything")
    if run.stop_reason in ("max_steps", "context_length") and steps:
        yield _of(steps[-1], "premature_termination", run.stop_reason, f"the run stopped at {run.stop_reason}")


def _detected(case: Case, run: Told, toolbox: Toolbox, system: str) -> Iterator[Finding]:
    """What triage's detectors see; the system prompt stands before the transcript, where they look for values that were said."""
    expectation = case.expectation
    gold = (
        canonical_json([action.model_dump() for action in expectation.actions])
        if expectation.kind == "episode"
        else None
    )
    messages = [{"role": "system", "content": system}, *run.transcript]
    row = {
        "messages": canonical_json(messages),
        "outcome_status": "failure",
        "feedback_score": None,
        "expected_actions": gold,
    }
    seen = Run(row, toolbox, Rules(tools=toolbox.tools, responses=toolbox.responses))
    for detector in _DETECTORS:
        for finding in detector(seen):
            # Tools that are down in a case are down on purpose, and its customer is scripted: both leave it to the agent.
            planted = finding.sub_kind == "tool_unavailable"
            bucket, kind = ("bad_recovery", "unresolved") if planted else (finding.bucket, finding.sub_kind)
            fault = "environment" if finding.sub_kind == "unusable_schema" else "agent"
            yield finding._replace(message_index=finding.message_index - 1, bucket=bucket, sub_kind=kind, fault=fault)


def _unmet(case: Case, run: Told, score: Score, seen: Sequence[Finding], toolbox: Toolbox) -> Iterator[Finding]:
    """In which way the expectation was not met."""
    steps = [number for number, message in enumerate(run.transcript) if message["role"] == "assistant"]
    last = max(steps[-1] if steps else 0, len(case.messages))
    message = run.transcript[last] if last < len(run.transcript) else {"role": "assistant", "content": ""}
    calls, said = calls_of([message]), str(message.get("content") or "")
    match case.expectation.kind:
        case "call" if not calls and _REFUSES.search(said):
            yield _of(last, "refusal_error", "over_refusal", "refused what it should have done")
        case "call" if score.tool_selection:
            yield _of(last, "wrong_arguments", "unmatched_argument", str(score.reason))
        case "call":
            more = len(calls) - score.expected_calls
            kind = "missing_call" if more < 0 else "extra_call" if more > 0 else "different_tool"
            yield _of(last, "wrong_tool_selection", kind, str(score.reason))
        case "reply":
            yield _wrong_reply(case, last, bool(calls), score)
        case "answer" if calls:
            yield _of(last, "wrong_tool_selection", "extra_call", str(score.reason))
        case "answer":
            yield _wrong_answer(case, last, said, score, toolbox)
        case _:
            # `off_gold` can only say that the right writes were made: then the order was wrong, or something was not said.
            silent = all(finding.bucket == "misread_tool_output" for finding in seen)
            if silent and "end state" in str(score.reason):
                yield _of(last, "wrong_tool_selection", "wrong_sequence", str(score.reason))
            elif silent:
                yield _of(last, "misread_tool_output", "missing_output", str(score.reason))


def _wrong_reply(case: Case, last: int, called: bool, score: Score) -> Finding:
    after_error = bool(case.messages) and case.messages[-1]["role"] == "tool" and tool_error(case.messages[-1])
    if case.category == "refusal":
        return _of(last, "refusal_error", "should_have_refused", str(score.reason))
    if called:
        return _of(last, "wrong_tool_selection", "extra_call", str(score.reason))
    if after_error:
        return _of(last, "bad_recovery", "unresolved", str(score.reason))
    return _of(last, "misread_tool_output", "missing_output", str(score.reason))


def _wrong_answer(case: Case, last: int, said: str, score: Score, toolbox: Toolbox) -> Finding:
    name = case.expectation.response if case.expectation.kind == "answer" else ""
    response = next((one for one in toolbox.responses if one.name == name), None)
    errors = check_answer(response, said) if response else []
    broken = errors[0].kind if errors else "invalid_json" if answer_fields(said) is None else ""
    bucket, kind = ("schema_violation", broken) if broken else ("wrong_arguments", "unmatched_argument")
    return _of(last, bucket, kind, str(score.reason))


def _of(index: int, bucket: str, kind: str, evidence: str) -> Finding:
    return Finding(index, bucket, kind, "agent", None, kind, evidence)
