"""The benchmark as a whole: what it covers, and the smallest difference between two models that it can show."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case, coverage
from flywheel.benchmark.lint.finding import Finding, Findings
from flywheel.lake import Lake

ADVERSARIAL_SHARE = 0.10
EPISODE_SHARE = 0.15
ADVERSARIAL = "adversarial"
# What two models of one family disagree on, where nothing was measured yet: measured runs gave 5 % on single steps and 15 to 18 %
# on whole conversations.
ASSUMED_DISCORDANCE = 0.15


class Discordance(NamedTuple):
    """Share (0 to 1) of the cases that one arm solved and the other did not, and where it comes from, one sentence."""

    share: float
    source: str


class Power(NamedTuple):
    """A category, its cases and clusters, and the smallest true difference (0 to 1) it resolves; NaN without a case.

    `detectable` is that of independent cases, `at_worst` where the cases of a cluster all come out together; the truth lies between.
    """

    category: str
    cases: int
    clusters: int
    detectable: float
    at_worst: float


def balance_findings(cases: Sequence[Case], workflow: str = "NAME") -> Findings:
    """Missing categories, too few adversarial cases, too few whole episodes; `workflow` stands in the commands that mend it."""
    for category in coverage(cases):
        yield Finding("warning", "no_cases", "", f"no {category} case; learn is refused without one",
                      f"flywheel benchmark new {category} --workflow {workflow}")  # fmt: skip
    shares = (
        ("few_adversarial", sum(ADVERSARIAL in case.tags for case in cases), ADVERSARIAL_SHARE, "adversarial cases",
         f"flywheel benchmark draft --workflow {workflow} drafts some; tag a case adversarial where it truly is"),
        ("few_episodes", sum(case.expectation.kind == "episode" for case in cases), EPISODE_SHARE, "whole episodes",
         "write episodes: single steps do not show whether a conversation ends well"),
    )  # fmt: skip
    for rule, count, least, what, remedy in shares:
        if cases and count < least * len(cases):
            message = f"{count} of {len(cases)} = {count / len(cases):.1%} are {what}; at least {least:.0%} should be"
            yield Finding("warning", rule, "", message, remedy)


def discordance(lake: Lake, workflow: str) -> Discordance:
    """Measured between candidate and incumbent in the newest week that was evaluated, else assumed."""
    columns = ("week", "case_id", "arm", "epoch", "success")
    results = lake.read_columns("eval_results", columns, workflow=workflow, where=pl.col("success").is_not_null())
    by_case = results.group_by("week", "case_id", "arm").agg(pl.col("success").mean())
    for week in sorted(set(by_case["week"]), reverse=True):
        arms = {
            arm: by_case.filter(week=week, arm=arm).select("case_id", "success") for arm in ("candidate", "incumbent")
        }
        both = arms["candidate"].join(arms["incumbent"], on="case_id")
        if both.height:
            apart = int((both["success"] != both["success_right"]).sum())
            source = f"measured in week {week}: candidate and incumbent differ on {apart} of {both.height} cases"
            return Discordance(apart / both.height, source)
    return Discordance(ASSUMED_DISCORDANCE, f"assumed: nothing was evaluated yet, {ASSUMED_DISCORDANCE:.0%}")


def power_table(cases: Sequence[Case], share: float) -> list[Power]:
    """One row a category, in alphabetical order, and the last for all; power 0.8 at the gate's level (`flywheel.statistics`)."""
    from flywheel.statistics.paired import effective_cases, minimum_detectable_effect

    rows = []
    for category in (*sorted({case.category for case in cases}), "all"):
        own = [case for case in cases if category in (case.category, "all")]
        sizes = Counter(case.cluster for case in own)
        resolved = (
            [minimum_detectable_effect(n, share) for n in (len(own), effective_cases([*sizes.values()]))]
            if own
            else [math.nan] * 2
        )
        rows.append(Power(category, len(own), len(sizes), *resolved))
    return rows
