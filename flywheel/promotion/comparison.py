"""A comparison of two configurations: judged by the gate's own rules, kept in `configuration_verdicts`, an exit code for CI.

What goes here: evidence, verdict, the row that is kept. What does not: how the rows came about (`flywheel.evaluation.comparison`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import SAFETY, Case
from flywheel.lake import Lake
from flywheel.promotion.decision import rules_of
from flywheel.promotion.evidence import Evidence, due_runs
from flywheel.promotion.gate import Decision, decide
from flywheel.promotion.history import Past, compared_versions, fixed_margin, same_core
from flywheel.promotion.verdict import Verdict
from flywheel.serving.configuration import Configuration, configuration_sha256, differing, parts_of_endpoint
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.serving_settings import is_endpoint

EXIT_CODES: dict[Verdict, int] = {"PROMOTE": 0, "REJECT": 1, "INCONCLUSIVE": 2, "INVALID": 3}
# Beside the configuration of a decision: what an endpoint was asked that was its incumbent.
INCUMBENT_ENDPOINT = "incumbent_endpoint"
# What tells two arms of a weekly evaluation that they were not run alike is here what may be compared.
_MAY_DIFFER = frozenset({"decoding"})


class Sides(NamedTuple):
    """The baseline and the candidate, with the versions of vLLM that their servers named."""

    baseline: Configuration
    candidate: Configuration
    vllm: tuple[str, str]

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both as values."""
        return self.baseline.parts(self.vllm[0]), self.candidate.parts(self.vllm[1])

    def differ_in(self) -> list[str]:
        """Names of the parts in which they differ; empty where they are one."""
        return differing(*self.parts())


def judge_configurations(
    rows: pl.DataFrame, cases: Sequence[Case], sides: Sides, *, metrics: Mapping[str, float | None],
    checkpoint: pl.DataFrame, history: pl.DataFrame, verdicts: pl.DataFrame, core_version: str,
) -> Decision:  # fmt: skip
    """The gate's decision under the rules of the baseline's pack. No case is targeted, and the best ever promoted is not asked.

    Args:
        rows: EVAL_RESULTS rows of the three arms.
        metrics: the candidate's on the core, for floors and ceilings.
        checkpoint: CHECKPOINT rows of all weeks: what the candidate's adapter forgot.
        history: PROMOTION rows: the margin that the first verdict on this core fixed holds here, too.
        verdicts: CONFIGURATION_VERDICTS rows, each of which looked at this benchmark if it judged it.
        core_version: of the cases; verdicts on other cores are not asked.
    """
    candidate, incumbent, again = (rows.filter(arm=arm) for arm in ("candidate", "incumbent", "incumbent_again"))
    judged = same_core(history, core_version)
    version = str(rows["benchmark_version"][0]) if rows.height else ""
    past = Past(judged.height + compared_versions(verdicts).count(version), fixed_margin(judged), None, None)
    trained = checkpoint.filter(adapter_id=sides.candidate.adapter_id).select("forgetting_nats", "tool_regression_nats")
    # A base model forgot nothing against itself.
    forgotten = trained.row(0) if trained.height else (0.0 if sides.candidate.adapter_id == "base" else None, None)
    evidence = Evidence(
        candidate, incumbent, again, (), forgotten[0], forgotten[1], metrics, {case.id for case in cases if SAFETY in case.tags},
        {case.id: case.exercises.tools for case in cases}, past, _MAY_DIFFER,
        due_runs(cases, rows),
    )  # fmt: skip
    return decide(evidence, rules_of(sides.baseline.pack))


def exit_code(decision: Decision) -> int:
    """What `flywheel evaluate --gate` ends with: 0 only where CI may go on without a person."""
    undecided = decision.verdict == "PROMOTE" and decision.advisory  # too few cases: a person decides
    return EXIT_CODES["INCONCLUSIVE" if undecided else decision.verdict]


def verdict_row(decision: Decision, sides: Sides, rows: pl.DataFrame, at: datetime) -> dict[str, Any]:
    """CONFIGURATION_VERDICTS row without the workflow."""
    baseline, candidate = sides.parts()
    gap = decision.difference
    versions = rows.select("benchmark_version", "scorer_version").row(0) if rows.height else (None, None)
    row = {
        "baseline_name": sides.baseline.name, "baseline_sha256": configuration_sha256(baseline),
        "baseline": canonical_json(baseline), "candidate_name": sides.candidate.name,
        "candidate_sha256": configuration_sha256(candidate), "candidate": canonical_json(candidate),
        "verdict": decision.verdict, "reasons": canonical_json(decision.reasons), "advisory": decision.advisory,
        "cases": gap.n if gap else 0, "baseline_success": decision.incumbent.estimate if decision.incumbent else None,
        "candidate_success": decision.candidate.estimate if decision.candidate else None,
        "difference": gap.mean if gap else None, "difference_lower": gap.lower if gap else None,
        "difference_upper": gap.upper if gap else None, "benchmark_version": versions[0], "scorer_version": versions[1],
    }  # fmt: skip
    return {"comparison_id": sha256_of([row, at.isoformat()])[:16], **row, "decided_at": at}


def evaluated_in(lake: Lake, workflow: str, log: pl.DataFrame) -> dict[str, str]:
    """Configuration hash -> what evaluated it: a weekly decision, or a comparison that promoted it."""
    verdicts = lake.read_weeks("configuration_verdicts", workflow=workflow)
    return {configuration_sha256(parts): said for parts, said in evaluated_parts(log, verdicts)}


def evaluated_parts(log: pl.DataFrame, verdicts: pl.DataFrame) -> list[tuple[dict[str, Any], str]]:
    """The evaluated configurations, oldest first, each with what evaluated it.

    Args:
        log: PROMOTION_LOG rows; candidate and incumbent of a decision ran under the configuration it noted, an endpoint as it noted beside.
        verdicts: CONFIGURATION_VERDICTS rows.
    """
    found: list[tuple[dict[str, Any], str]] = []
    for row in log.filter(pl.col("configuration").is_not_null()).sort("decided_at").iter_rows(named=True):
        noted = json.loads(row["configuration"])
        asked = noted.pop(INCUMBENT_ENDPOINT, None)
        for adapter in dict.fromkeys((row["previous_adapter_id"], row["candidate_adapter_id"])):
            parts = {**noted, "adapter_id": adapter}
            if is_endpoint(adapter):
                if asked is None:
                    continue  # nothing ran against it, as in a banked week
                parts = parts_of_endpoint(parts, asked)
            found.append((parts, f"decision {row['decision_id']} of week {row['week']}"))
    for row in verdicts.sort("decided_at").iter_rows(named=True):
        if row["verdict"] == "PROMOTE":
            found.append((json.loads(row["candidate"]), f"comparison {row['comparison_id']}"))
    return found
