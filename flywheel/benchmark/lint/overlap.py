"""Cases against each other: the same asked twice, contradicted, or counted as two independent answers."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from flywheel.benchmark.cases import Case
from flywheel.benchmark.fingerprints import MINIMUM_WORDS, masked
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.chat.canonical import canonical_messages
from flywheel.similarity.near_duplicates import group
from flywheel.toolcalls.arguments import sha256_of

NEAR_DUPLICATE = 0.8


def overlap_findings(cases: Sequence[Case]) -> Findings:
    """Duplicates, contradictions, shared production runs, histories inside histories, and near-duplicates across clusters."""
    yield from _same_history(cases)
    yield from _same_run(cases)
    yield from _one_inside_the_other(cases)
    yield from _near_duplicates(cases)


def _situation(case: Case) -> str:
    """What the case puts the model into: history and tools, and of an episode its world and scripted replies."""
    told: list[Any] = [canonical_messages(case.messages), case.tools]
    if case.expectation.kind == "episode":
        told += [case.expectation.environment.model_dump(), case.expectation.replies]
    return sha256_of(told)


def _same_history(cases: Sequence[Case]) -> Findings:
    situations: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        situations[_situation(case)].append(case)
    for same in situations.values():
        first, *others = same
        for case in others:
            if case.expectation == first.expectation:
                yield Finding(
                    "warning", "duplicate", case.id, f"asks and expects what {first.id} does", "remove one of the two"
                )
            else:
                yield Finding("error", "ambiguous", case.id, f"the same history as {first.id}, and another expectation",
                              "decide which is right; where both are, say so in one case (one_of, or several phrases in a group)")  # fmt: skip


def _same_run(cases: Sequence[Case]) -> Findings:
    owners: dict[str, Case] = {}
    for case in cases:
        for conversation in case.origin.conversations if case.origin else []:
            owner = owners.setdefault(conversation, case)
            if owner.cluster != case.cluster:
                yield Finding("error", "overlap", case.id, f"comes from the conversations of {owner.id}, in another cluster",
                              f"put both into one cluster: one of them is to be {owner.cluster}")  # fmt: skip
                break


def _one_inside_the_other(cases: Sequence[Case]) -> Findings:
    """A longer case that begins with a shorter one shows the model an answer to it; the two are one cluster."""
    whole: dict[str, Case] = {sha256_of([canonical_messages(case.messages), case.tools]): case for case in cases}
    for case in cases:
        history = canonical_messages(case.messages)
        for length in range(1, len(history)):
            inner = whole.get(sha256_of([history[:length], case.tools]))
            if inner and inner.cluster != case.cluster:
                yield Finding("warning", "overlap", case.id, f"begins with the whole of {inner.id}, which is in another cluster",
                              "put both into one cluster")  # fmt: skip
                break


def _near_duplicates(cases: Sequence[Case]) -> Findings:
    """One finding a pair of clusters, so that a template used twice does not fill the page."""
    texts = {case.id: text for case in cases if len((text := _masked_text(case)).split()) >= MINIMUM_WORDS}
    by_id = {case.id: case for case in cases}
    groups: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case_id, leader in group(texts, NEAR_DUPLICATE).items():
        groups[leader, _answer(by_id[case_id])].append(by_id[case_id])
    for members in groups.values():
        clusters = sorted({case.cluster for case in members})
        if len(clusters) > 1:
            others = ", ".join(case.id for case in members if case.cluster != members[0].cluster)[:200]
            yield Finding("warning", "near_duplicates", members[0].id,
                          f"nearly what {others} ask and expect, in {len(clusters)} clusters: {', '.join(clusters)[:200]}",
                          "put them into one cluster: they stand or fall together")  # fmt: skip


def _masked_text(case: Case) -> str:
    return masked(json.dumps([message.get("content") for message in case.messages], ensure_ascii=False))


def _answer(case: Case) -> str:
    """What kind of answer is right: near-duplicates with another one test something else."""
    expectation = case.expectation
    if expectation.kind == "call":
        return "call " + " ".join(sorted(call.name for call in expectation.calls))
    if expectation.kind == "episode":
        return "episode " + " ".join(action.name for action in expectation.actions)
    return f"answer {expectation.response}" if expectation.kind == "answer" else "reply"
