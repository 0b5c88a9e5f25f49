"""What the gate judges: evaluation rows of the arms, and the rules of the pack; epochs are averaged here, first.

One case is one observation. Runs of a case that ended in a server or network error have no score: they are left out and
counted, never scored 0.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from flywheel.benchmark.cases import CORE, Case
from flywheel.statistics.paired import PairedDifference, paired_difference

if TYPE_CHECKING:
    from flywheel.promotion.history import Past


@dataclass(frozen=True)
class Rules:
    """The pack's part of the gate.

    Attributes:
        margin: non-inferiority margin (0 to 1); None for what the cases resolve.
        floors, ceilings: absolute minima and maxima of the candidate's metrics.
        max_forgetting_nats: how much may be forgotten; None: shown, not judged.
        discordance: share of cases (0 to 1) on which two equally good models are taken to differ, until the A/A run shows more.
        looks: verdicts after which a benchmark core is to be refreshed.
    """

    margin: float | None
    floors: dict[str, float] = field(default_factory=dict)
    max_forgetting_nats: float | None = None
    discordance: float = 0.2
    ceilings: dict[str, float] = field(default_factory=dict)
    looks: int = 12


class Evidence(NamedTuple):
    """What is judged.

    Attributes:
        candidate, incumbent, again: EVAL_RESULTS rows of each arm; `again` is the incumbent's A/A run.
        targeted: ids of this week's targeted cases.
        forgetting_nats, tool_regression_nats: changes against the base model in nats a token, on general texts and on tools nobody
            corrected; the second is None where no accepted step calls such a tool.
        metrics: the candidate's metrics by name; a limit on one that is not there makes the verdict INVALID.
        safety: ids of the cases that must never fail.
        tools: case id -> names of the tools that the case exercises.
        past: what earlier verdicts on this benchmark core left.
        may_differ: columns in which the arms may differ, because that is what is compared.
        due: (case id, epoch) of every run that the benchmark asks of both arms; None where other cases are active by now.
    """

    candidate: pl.DataFrame
    incumbent: pl.DataFrame
    again: pl.DataFrame
    targeted: Collection[str]
    forgetting_nats: float | None = None
    tool_regression_nats: float | None = None
    metrics: Mapping[str, float | None] = MappingProxyType({})
    safety: Collection[str] = ()
    tools: Mapping[str, Collection[str]] = MappingProxyType({})
    past: "Past | None" = None
    may_differ: Collection[str] = ()
    due: Collection[tuple[str, int]] | None = None


def due_runs(cases: Iterable[Case], rows: pl.DataFrame) -> set[tuple[str, int]]:
    """(case id, epoch) of every case, in as many epochs as any of these EVAL_RESULTS rows ran."""
    epochs = rows.select(epoch_of(rows))["epoch"].unique().to_list()
    return {(case.id, epoch) for case in cases for epoch in range(max(epochs, default=0) + 1)}


def epoch_of(rows: pl.DataFrame) -> pl.Expr:
    """The column `epoch`; 0 where each case ran once and nothing says so."""
    return pl.col("epoch") if "epoch" in rows.columns else pl.lit(0, pl.Int64).alias("epoch")


def case_means(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """One row a case that has a score: case_id, and its success averaged over epochs (0 to 1) under `name`."""
    scored = rows.filter(pl.col("success").is_not_null())
    return scored.group_by("case_id").agg(pl.col("success").cast(pl.Float64).mean().alias(name)).sort("case_id")


def pairs(evidence: Evidence) -> pl.DataFrame:
    """One row a case both arms completed: case_id, case_cluster, category, slice, candidate and incumbent (means over epochs)."""
    # Rows written before there were slices are all of the core.
    part = pl.col("slice").fill_null(CORE) if "slice" in evidence.candidate.columns else pl.lit(CORE)
    about = evidence.candidate.select("case_id", "case_cluster", "category", part.alias("slice")).unique("case_id")
    both = case_means(evidence.candidate, "candidate").join(case_means(evidence.incumbent, "incumbent"), on="case_id")
    return both.join(about, on="case_id").sort("case_id")


def compared(part: pl.DataFrame, *, level: float | None = None) -> PairedDifference:
    """Clustered paired difference of some rows of `pairs`; needs at least one."""
    columns = [part[name].to_list() for name in ("candidate", "incumbent", "case_cluster")]
    return paired_difference(*columns) if level is None else paired_difference(*columns, level=level)


def in_words(difference: PairedDifference) -> str:
    """A difference as people read it: points, cases, clusters, 95 % interval, cases fixed and broken."""
    return (
        f"{100 * difference.mean:+.1f} points over {difference.n} cases in {difference.clusters} clusters (95 % interval "
        f"{100 * difference.lower:+.1f} to {100 * difference.upper:+.1f}; {difference.fixed} fixed, {difference.broken} broken)"
    )
