"""The bare base model as an arm of its own, so that every candidate stands beside it: asked once a benchmark, then carried from week to week.

What it answers depends on neither candidate nor incumbent. So a later week takes the stored outputs of an earlier one, as long as all
else that decides them is the same, and scores them as it scores its own. The gate never reads this arm.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.row_digest import tampered
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.evaluation.scoring import Scorer
from flywheel.evaluation.session import CANDIDATE, INCUMBENT
from flywheel.lake import Lake
from flywheel.lake.judge_tables import ANSWERED_IN
from flywheel.serving.vllm_server import BASE
from flywheel.toolcalls.arguments import canonical_json, sha256_of

BASE_ARM = "base"
# What the other arms add to what decides an evaluation (`Servers.decides`); `gone` is empty in a week that can be carried from.
_OF_OTHERS = ("others", "endpoints")


class Carried(NamedTuple):
    """Rows of the base model (EVAL_RESULTS without partition columns) and the week that they were answered in."""

    week: str
    rows: list[dict[str, Any]]


def base_arm(arms: Sequence[Arm]) -> Arm | None:
    """The base model's arm beside these; None where one of them is the base model."""
    return None if any(arm.adapter_id == BASE for arm in arms) else Arm(BASE_ARM, BASE, BASE)


def carried(lake: Lake, week: str, benchmark: Benchmark, generation: Mapping[str, Any]) -> Carried | None:
    """The base model's stored outputs of the newest earlier week that asked it the same; None where it has to be asked.

    They are taken whole or not at all: every case in every epoch, none lost to an error, none changed since it was written.

    Args:
        generation: all that decides this week's outputs, arms included (`Decides.generation`).
    """
    where = (pl.col("benchmark_version") == benchmark.version) & (pl.col("week") < week)
    columns = ("week", "arm", "adapter_id", "generation_sha256")
    known = lake.read_columns("eval_results", columns, workflow=benchmark.pack.name, where=where).unique()
    for earlier in known["week"].unique().sort(descending=True):
        asked = known.filter(week=earlier)
        arm = asked.filter(pl.col("adapter_id") == BASE, pl.col("arm").is_in([BASE_ARM, INCUMBENT]))["arm"].unique()
        if arm.len() == 1 and _same_question(asked, generation):
            stored = lake.read_partition("eval_results", workflow=benchmark.pack.name, week=earlier)
            rows = stored.filter(arm=arm[0])
            if _whole(rows, benchmark):
                return _carry(rows, earlier, benchmark)
    return None


def _same_question(asked: pl.DataFrame, generation: Mapping[str, Any]) -> bool:
    """Whether an earlier week generated under what decides this one, but for who else was asked."""
    adapters = dict(asked.select("arm", "adapter_id").iter_rows())
    arms = {"candidate": adapters.get(CANDIDATE), "incumbent": adapters.get(INCUMBENT), "gone": {}}
    alike = {**generation, **arms}
    alone = {name: value for name, value in alike.items() if name not in _OF_OTHERS}
    return set(asked["generation_sha256"]) <= {sha256_of(alike), sha256_of(alone)}


def _whole(rows: pl.DataFrame, benchmark: Benchmark) -> bool:
    epochs = range(benchmark.pack.settings.evaluation.epochs)
    wanted = {(case.id, epoch) for case in benchmark.cases for epoch in epochs}
    there = set(rows.select("case_id", "epoch").iter_rows()) == wanted
    return there and rows["infra_error"].is_null().all() and not tampered(rows)


def _carry(rows: pl.DataFrame, earlier: str, benchmark: Benchmark) -> Carried:
    """As this week's arm; `started_at` goes on saying when it was answered, and `server` by what and in which week."""
    scorer, made, first = Scorer(benchmark.pack, benchmark.cases), [], earlier
    for row in rows.drop("week", "workflow").iter_rows(named=True):
        server = json.loads(row["server"] or "{}")
        first = server.setdefault(ANSWERED_IN, earlier)
        now = {"arm": BASE_ARM, "generation_sha256": benchmark.generation_sha256, "server": canonical_json(server)}
        made.append(scorer.row({**row, **now}))
    return Carried(first, made)
