"""Structured answers in a benchmark: is the schema there, can an answer that it allows be right, and does the pack ask for one there?"""

from flywheel.benchmark.cases import Case
from flywheel.benchmark.lint.calls import expected_findings
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.toolcalls.structured_answers import response_at
from flywheel.workflows.pack import Pack

# The errors of a case that the pack's schemas of today left behind.
OUTDATED = ("unknown_response", "unsatisfiable_answer")


def answer_findings(case: Case, pack: Pack) -> Findings:
    """What is wrong with an expected answer, and with words that are expected where the pack wants a structured answer."""
    expectation = case.expectation
    if case.tools is not None:
        return
    asked = response_at(pack.responses, [*case.messages, {"role": "assistant"}], len(case.messages))
    if expectation.kind == "reply" and expectation.includes and asked:
        yield Finding("warning", "words_for_an_answer", case.id, f"the pack wants the structured answer {asked.name} there",
                      "expect an answer (docs/benchmark.md), or correct after_tools in workflow.yaml")  # fmt: skip
    if expectation.kind != "answer":
        return
    response = pack.response(expectation.response)
    if response is None:
        known = ", ".join(one.name for one in pack.responses) or "none"
        yield Finding("error", "unknown_response", case.id, f"the pack has no response schema {expectation.response!r}",
                      f"use one of workflow.yaml: {known}")  # fmt: skip
        return
    if asked is not response:
        told = f"the pack wants {asked.name} there" if asked else "the pack wants no structured answer there"
        yield Finding("warning", "unasked_answer", case.id, f"{told}, the case expects {response.name}",
                      "correct the case, or after_tools in workflow.yaml")  # fmt: skip
    what = f"answer {response.name}"
    yield from expected_findings(case, expectation.as_call(), response.as_tool, what, "unsatisfiable_answer")
