"""The bare base model as an arm of its own, so that every candidate stands beside it: asked once a benchmark, then carried from week to week.

What it answers depends on neither candidate nor incumbent. So a later week takes the stored outputs of an earlier one, as long as all
else that decides them is the same, and scores them as it scores its own. The gate never reads this arm.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.row_digest import DIGEST, row_sha256, tampered
from flywheel.evaluation.runner import Arm, Benchmark
from flywheel.evaluation.scoring import Scorer
from flywheel.evaluation.session import CANDIDATE, INCUMBENT
from flywheel.lake import Lake
from flywheel.lake.judge_tables import ANSWERED_IN
from flywheel.serving.vllm_server import BASE
from flywheel.toolcalls.arguments import canonical_json, sha256_of

BASE_ARM = "base"
_QUESTION = "question"
# What the other arms add to what decides an evaluation (`Servers.decides`).
_OF_OTHERS = ("candidate", "incumbent", "gone", "others", "endpoints")


class Carried(NamedTuple):
    """Rows of the base model (EVAL_RESULTS without partition columns) and the week that they were answered in."""

    week: str
    rows: list[dict[str, Any]]


def base_arm(arms: Sequence[Arm]) -> Arm | None:
    """The base model's arm beside these; None where one of them is the base model."""
    return None if any(arm.adapter_id == BASE for arm in arms) else Arm(BASE_ARM, BASE, BASE)


def asked(rows: Sequence[dict[str, Any]], generation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a session, those of the base model's arm with what it was asked: later weeks go by that.

    Args:
        generation: all that decides this week's outputs, arms included (`Decides.generation`).
    """
    return [_with_server(row, {_QUESTION: _question(generation)}) if row["arm"] == BASE_ARM else row for row in rows]


def carried(lake: Lake, week: str, benchmark: Benchmark, generation: Mapping[str, Any]) -> Carried | None:
    """The base model's stored outputs of the newest earlier week that asked it the same; None where it has to be asked.

    They are taken whole or not at all: every case in every epoch, none lost to an error or to a server that changed meanwhile, none
    edited since it was written.
    """
    where = (pl.col("benchmark_version") == benchmark.version) & (pl.col("week") < week)
    columns = ("week", "arm", "adapter_id", "generation_sha256", "server")
    known = lake.read_columns("eval_results", columns, workflow=benchmark.pack.name, where=where).unique()
    for earlier in known["week"].unique().sort(descending=True):
        of_week = known.filter(week=earlier)
        own = of_week.filter(pl.col("adapter_id") == BASE, pl.col("arm").is_in([BASE_ARM, INCUMBENT]))
        if own["arm"].n_unique() == 1 and _same_question(of_week, own, generation):
            stored = lake.read_partition("eval_results", workflow=benchmark.pack.name, week=earlier)
            rows = stored.filter(arm=own["arm"][0])
            if _whole(rows, benchmark):
                return _carry(rows, earlier, benchmark)
    return None


def _question(generation: Mapping[str, Any]) -> str:
    return sha256_of({name: value for name, value in generation.items() if name not in _OF_OTHERS})


def _same_question(of_week: pl.DataFrame, own: pl.DataFrame, generation: Mapping[str, Any]) -> bool:
    """Whether an earlier week generated under what decides this one, but for who else was asked."""
    told = {json.loads(server or "{}").get(_QUESTION) for server in own["server"]}
    if told != {None}:
        return told == {_question(generation)}
    # It was the incumbent: its rows tell the whole week's hash alone, so the week's own two adapters are put into today's.
    adapters = dict(of_week.select("arm", "adapter_id").iter_rows())
    arms = {"candidate": adapters.get(CANDIDATE), "incumbent": adapters.get(INCUMBENT), "gone": {}}
    rest = {name: value for name, value in generation.items() if name not in _OF_OTHERS}
    return set(of_week["generation_sha256"]) == {sha256_of({**rest, **arms})}


def _whole(rows: pl.DataFrame, benchmark: Benchmark) -> bool:
    epochs = range(benchmark.pack.settings.evaluation.epochs)
    wanted = {(case.id, epoch) for case in benchmark.cases for epoch in epochs}
    there = set(rows.select("case_id", "epoch").iter_rows()) == wanted
    changed = any(json.loads(server or "{}").get("changed") for server in rows["server"].unique())
    return there and rows["infra_error"].is_null().all() and not changed and not tampered(rows)


def _carry(rows: pl.DataFrame, earlier: str, benchmark: Benchmark) -> Carried:
    """As this week's arm; `started_at` goes on saying when it was answered, and `server` by what and in which week."""
    scorer, made, first = Scorer(benchmark.pack, benchmark.cases), [], earlier
    for row in rows.drop("week", "workflow").iter_rows(named=True):
        first = json.loads(row["server"] or "{}").get(ANSWERED_IN, earlier)
        now = {"arm": BASE_ARM, "generation_sha256": benchmark.generation_sha256}
        made.append(scorer.row({**_with_server(row, {ANSWERED_IN: first}), **now}))
    return Carried(first, made)


def _with_server(row: dict[str, Any], more: dict[str, str]) -> dict[str, Any]:
    """The row with more said of its server, under a digest of its own."""
    changed = {**row, "server": canonical_json({**json.loads(row["server"] or "{}"), **more})}
    return {**changed, DIGEST: row_sha256(changed)}
