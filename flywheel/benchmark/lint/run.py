"""The whole lint of a benchmark, for the command line and for the freeze."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from flywheel.benchmark.cases import Case, read_cases
from flywheel.benchmark.lint.answers import answer_findings
from flywheel.benchmark.lint.balance import balance_findings
from flywheel.benchmark.lint.calls import call_findings
from flywheel.benchmark.lint.finding import Finding
from flywheel.benchmark.lint.history import history_findings
from flywheel.benchmark.lint.overlap import overlap_findings
from flywheel.benchmark.lint.reach import CountTokens, reach_findings
from flywheel.errors import FlywheelError
from flywheel.workflows.pack import Pack


def lint(pack: Pack, folder: Path | None = None, count: CountTokens | None = None) -> tuple[list[Case], list[Finding]]:
    """The cases of a pack that can be read, and everything found, errors first; lines that cannot be read are errors, too.

    Args:
        folder: of the cases, the pack's `benchmark` by default.
        count: tokens of a text by the base model's tokenizer; None estimates.
    """
    located, problems = read_cases(folder or pack.folder / "benchmark", pack.tools)
    unread = [Finding("error", "unreadable", "", f"{error.what} [{error.where}]", error.remedy) for error in problems]
    cases = [case for case, _ in located]
    return cases, unread + lint_cases(cases, pack, count)


def lint_cases(cases: Sequence[Case], pack: Pack, count: CountTokens | None = None) -> list[Finding]:
    """Everything found on cases that were read, errors first, else in the order of the cases. Plays the gold actions of episodes."""
    found: list[Finding] = []
    sound: list[Case] = []
    for case in cases:
        own = list(history_findings(case, pack.tools))
        # The rest reads the messages, so it waits until they are a conversation.
        if not any(finding.level == "error" for finding in own):
            sound.append(case)
            own += [*call_findings(case, pack.tools), *answer_findings(case, pack), *reach_findings(case, pack, count)]
        found += own
    found += [*overlap_findings(sound), *balance_findings(cases, pack.name)]
    return sorted(found, key=lambda finding: finding.level != "error")


def refuse_errors(findings: Iterable[Finding], new: Sequence[str]) -> list[Finding]:
    """Raise FlywheelError when a case that is to be frozen has an error; returns the errors of cases frozen before.

    A frozen case cannot be edited, so its errors do not stop the others: it is to be superseded or retired.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    fresh = [finding for finding in errors if not finding.case_id or finding.case_id in set(new)]
    if fresh:
        named = "; ".join(f"{finding.case_id}: {finding.message} ({finding.rule})" for finding in fresh[:5])
        raise FlywheelError(f"{len(fresh)} errors in benchmark cases that would be frozen: {named}", where="benchmark/*.jsonl",
                            remedy=f"{fresh[0].remedy}; flywheel benchmark lint shows all of them")  # fmt: skip
    return errors
