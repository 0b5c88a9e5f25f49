"""The planted corpus and its confusion matrix: silent failures and loops are found, nobody is blamed for another's fault."""

from collections import Counter

import pytest

from flywheel.detectors.finding import Rules
from flywheel.failures.triage import Triage
from flywheel.toolcalls.arguments import canonical_json
from flywheel_tests.failures.planted import REFUND, TOOLS, corpus

EACH = 60


@pytest.fixture(scope="module")
def matrix() -> Counter[tuple[str, str]]:
    """(kind planted, fault found) -> runs."""
    triage = Triage(
        {"x": canonical_json(TOOLS)}, Rules(tuple(TOOLS), injected_prefixes=("harness_",), responses=(REFUND,))
    )
    counted: Counter[tuple[str, str]] = Counter()
    for run in corpus(EACH):
        row = {"trace_id": "t", "messages": canonical_json(run.messages), "tools_sha256": "x", "adapter_id": "base", "metadata": "{}",
               "outcome_status": "unknown", "feedback_score": None, "principal_ref": None, "tenant_id": None, "reward": None,
               "expected_actions": None, **run.columns}  # fmt: skip
        failure = triage.one(row)
        counted[run.kind, failure["fault"] if failure else "none"] += 1
    faults = ("agent", "user", "environment", "grader", "inconclusive", "none")
    print("\n" + "planted".ljust(20) + "".join(fault.rjust(14) for fault in faults))
    for kind in dict.fromkeys(kind for kind, _ in counted):
        print(kind.ljust(20) + "".join(str(counted[kind, fault]).rjust(14) for fault in faults))
    return counted


def share(matrix: Counter[tuple[str, str]], kind: str, fault: str) -> float:
    return matrix[kind, fault] / sum(count for (planted, _), count in matrix.items() if planted == kind)


@pytest.mark.parametrize(
    "kind", ["silent_failure", "repeated_call", "ungrounded", "unknown_name", "incomplete_result", "broken_answer"]
)
def test_what_the_agent_did_wrong_is_found(matrix: Counter[tuple[str, str]], kind: str):
    assert share(matrix, kind, "agent") >= 0.95


@pytest.mark.parametrize(
    ("kind", "fault"), [("user_fault", "user"), ("rate_limit", "environment"), ("conflicting_labels", "grader")]
)
def test_the_faults_of_others_are_theirs(matrix: Counter[tuple[str, str]], kind: str, fault: str):
    assert share(matrix, kind, fault) >= 0.9 and share(matrix, kind, "agent") <= 0.05


def test_no_call_of_the_harness_is_blamed(matrix: Counter[tuple[str, str]]):
    assert share(matrix, "injected_call", "none") == 1


@pytest.mark.parametrize("kind", ["good", "admitted_result", "right_answer"])
def test_good_runs_are_left_alone(matrix: Counter[tuple[str, str]], kind: str):
    assert share(matrix, kind, "agent") == 0 and share(matrix, kind, "none") >= 0.95
