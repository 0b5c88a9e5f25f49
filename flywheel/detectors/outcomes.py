"""Feedback, outcome and reward: they select a run for people, they never label a step (design.md, contract 9)."""

from collections.abc import Iterator

from flywheel.detectors.finding import Finding, Run


def bad_outcome(run: Run) -> Iterator[Finding]:
    """The user's feedback is negative or a label calls the run a failure; the last step is suspected, nobody's fault proven.

    A run without any call that its user disliked most likely missed one.
    """
    disliked = run.feedback_score is not None and run.feedback_score < 0
    if run.ends_well is not False and not disliked:
        return
    signal = "a label calls the run a failure" if run.ends_well is False else f"feedback {run.feedback_score}"
    if run.calls or run.ends_well is False:
        step = run.last_assistant()
        yield Finding(step, "misread_tool_output", "negative_signal", "inconclusive", None, "negative_signal", signal)
    else:
        yield Finding(
            run.first_assistant(), "wrong_tool_selection", "missing_call", "agent", None, "no_call_made", signal
        )


def conflicting_labels(run: Run) -> Iterator[Finding]:
    """Labels that contradict each other: the grader or the feedback is wrong, and a person has to say which."""
    claims = {
        "outcome": {"success": True, "failure": False}.get(run.outcome_status),
        "reward": None if run.reward is None else run.reward >= 1,
        "feedback": None if not run.feedback_score else run.feedback_score > 0,
    }
    said = {name: claim for name, claim in claims.items() if claim is not None}
    if len(set(said.values())) > 1:
        told = ", ".join(f"{name} says {'good' if claim else 'bad'}" for name, claim in said.items())
        yield Finding(
            run.last_assistant(), "infra_error", "conflicting_labels", "grader", None, "conflicting_labels", told, True
        )


def abandoned(run: Run) -> Iterator[Finding]:
    """The run stops while the user is waiting, or the source says they gave up."""
    last = run.messages[-1]
    closing = last.role == "user" and len(run.messages) > 3 and _is_closing(last.content or "")
    handed_over = last.role == "tool" and run.calls and run.calls[-1].error is None
    if (
        run.outcome_status == "abandoned"
        or (last.role == "user" and not closing)
        or (last.role == "tool" and not handed_over)
    ):
        said = (
            "the source says the user gave up"
            if run.outcome_status == "abandoned"
            else "the run ends without an answer"
        )
        yield Finding(
            run.last_assistant(), "premature_termination", "abandoned", "inconclusive", None, "abandoned", said
        )


def _is_closing(text: str) -> bool:
    """A last word that asks for nothing."""
    plain = text.casefold()
    return "###stop###" in plain or "###transfer###" in plain or any(
        word in plain for word in ("thank", "bye", "that's all", "that is all", "have a ", "perfect", "great")
    )  # fmt: skip


def model_error(run: Run) -> Iterator[Finding]:
    """The model's server failed and the run ends there."""
    if run.model_error and run.messages[-1].role != "assistant":
        said = f"the model gave no answer: {run.model_error!r}"
        yield Finding(
            run.last_assistant(), "infra_error", "model_error", "environment", None, "model_error", said, True
        )
