"""Feedback and outcome: they select a run for people, they never label it (design.md, contract 9)."""

from collections.abc import Iterator

from flywheel.failures.finding import Finding, Run


def bad_feedback(run: Run) -> Iterator[Finding]:
    """The user's feedback is negative or the source calls the run a failure; the last step is suspected."""
    if run.outcome_status == "failure" or (run.feedback_score is not None and run.feedback_score < 0):
        step = run.last_assistant()
        first = next((i for i, message in enumerate(run.messages) if message["role"] == "assistant"), step)
        called = any(message.get("tool_calls") for message in run.messages)
        signal = (
            f"feedback {run.feedback_score}"
            if run.outcome_status != "failure"
            else "the source calls the run a failure"
        )
        if called:
            yield Finding(
                step, "misread_tool_output", "negative_signal", "inconclusive", None, "negative_signal", signal
            )
        else:
            yield Finding(first, "wrong_tool_selection", "missing_call", "agent", None, "no_call_made", signal)


def abandoned(run: Run) -> Iterator[Finding]:
    """The run stops while the user is waiting, or the source says they gave up."""
    if run.messages[-1]["role"] in ("user", "tool") or run.outcome_status == "abandoned":
        step = run.last_assistant()
        said = (
            "the source says the user gave up"
            if run.outcome_status == "abandoned"
            else "the run ends without an answer"
        )
        yield Finding(step, "premature_termination", "abandoned", "inconclusive", None, "abandoned", said)
