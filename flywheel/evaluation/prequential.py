"""The prequential score: each week's corrected production steps, asked of the adapter of the week before, which never saw them.

Test, then train (Dawid 1984; Gama et al. 2013): the steps of week N+1 are answered by what week N made, and only then may they train. So
it cannot leak, and it never goes stale. What goes here: who is asked, the proof that nobody trained on what they are asked, and the rows.
What does not: what a step asks (`production_steps.py`), running it (`session.py`), and what the scores say of production
(`flywheel.report.prequential`).
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.errors import FlywheelError
from flywheel.evaluation.production_steps import ProductionStep, asked
from flywheel.evaluation.runner import Arm
from flywheel.evaluation.session import INCUMBENT
from flywheel.lake import Lake
from flywheel.serving.ancestry import ancestors, trained_from
from flywheel.workflows.serving_settings import is_endpoint

CHECKPOINT, SERVED = "checkpoint", "served"
_DATASETS = ("sft_dataset", "preference_dataset")


class Asked(NamedTuple):
    """Who is asked a week's steps: the arms, and the week that trained each arm's adapter (None for the base model).

    `spared` are endpoints, which are not asked: production's steps are people's, and nobody agreed that they leave for a score.
    """

    arms: list[Arm]
    trained_in: dict[str, str | None]
    spared: Sequence[str] = ()


class Trained(NamedTuple):
    """What training had seen before the week: runs, conversations, and hashes of the histories that the arms' adapters trained on."""

    traces: Collection[str]
    conversations: Collection[str]
    histories: Collection[str]


def who_is_asked(lake: Lake, workflow: str, week: str, served: str) -> Asked:
    """The adapter of the week before, what it was judged against, and what served the week where that is neither.

    Of one that is two of them, the first name counts. After a week that trained nothing there is nothing to score, and nobody is asked.

    Args:
        served: what the pointer had serving in the week.

    Raises FlywheelError for an adapter that was trained in the week or later: it may have learned the answers.
    """
    before = (date.fromisoformat(week) - timedelta(days=7)).isoformat()
    trained = lake.read_columns("checkpoint", ("week", "adapter_id"), workflow=workflow)
    first = dict(trained.group_by("adapter_id").agg(pl.col("week").min()).iter_rows())
    checkpoint = trained.filter(week=before)["adapter_id"].to_list()
    if not checkpoint:
        return Asked([], {})
    columns = ("week", "candidate_adapter_id", "incumbent_adapter_id")
    judged = lake.read_columns("promotion", columns, workflow=workflow).filter(week=before)
    named = [(CHECKPOINT, checkpoint[0])]
    if judged.height and judged["candidate_adapter_id"][0] == checkpoint[0]:
        named.append((INCUMBENT, judged["incumbent_adapter_id"][0]))
    named.append((SERVED, served))
    arms: dict[str, Arm] = {}
    for name, adapter in named:
        if adapter and adapter not in arms and not is_endpoint(adapter):
            arms[adapter] = Arm(name, adapter, adapter)
    late = sorted(adapter for adapter in arms if first.get(adapter, "") >= week)
    if late:
        raise FlywheelError(
            f"adapter {late[0]} was trained in week {first[late[0]]}: it may have learned the answers of week {week}",
            where=f"{workflow}, week {week}",
            remedy="a step is only asked of what was made before it; see promotion_log for what served in that week",
        )
    spared = sorted({adapter for _, adapter in named if is_endpoint(adapter)})
    return Asked(list(arms.values()), {arm.name: first.get(arm.adapter_id) for arm in arms.values()}, spared)


def trained_before(lake: Lake, workflow: str, week: str, trained_in: Mapping[str, str | None]) -> Trained:
    """What datasets of earlier weeks held: all runs and conversations ever, and the histories behind the arms' own adapters."""
    earlier = pl.col("week") < week
    traces: set[str] = set()
    conversations: set[str] = set()
    for table in _DATASETS:
        seen = lake.read_columns(
            table, ("week", "row_id", "trace_id", "conversation_id"), workflow=workflow, where=earlier
        )
        traces.update(seen["trace_id"].drop_nulls())
        conversations.update(seen["conversation_id"].drop_nulls())
    weeks = _weeks_behind(lake, workflow, {at for at in trained_in.values() if at})
    texts = (lake.read_columns(table, ("week", "row_id", "messages"), workflow=workflow, where=pl.col("week").is_in(weeks))["messages"] for table in _DATASETS)  # fmt: skip
    histories = {asked(json.loads(text)) for column in texts for text in column.unique()}
    return Trained(traces, conversations, histories)


def _weeks_behind(lake: Lake, workflow: str, weeks: Collection[str]) -> list[str]:
    """The weeks, and those that trained what their adapters went on from."""
    trained = trained_from(lake, workflow)
    starts = trained.filter(pl.col("week").is_in(sorted(weeks)))["adapter_id"]
    return sorted({*weeks, *(week for adapter in starts for week in ancestors(trained, adapter).values())})


def never_seen(steps: Sequence[ProductionStep], trained: Trained) -> tuple[list[ProductionStep], Counter[str]]:
    """The steps that no adapter asked has trained on, and how many were left out because one may have."""
    kept: list[ProductionStep] = []
    left_out: Counter[str] = Counter()
    for step in steps:
        if step.trace_id in trained.traces or step.conversation_id in trained.conversations:
            left_out["its run trained already"] += 1
        elif asked(step.case.messages) in trained.histories:
            left_out["the same history trained already"] += 1
        else:
            kept.append(step)
    return kept, left_out


def with_origin(
    rows: Sequence[Mapping[str, Any]], steps: Sequence[ProductionStep], trained_in: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """PREQUENTIAL_RESULTS rows (without partition columns) of an evaluation's rows: where each step comes from, and a digest over all."""
    by_case = {step.case.id: step for step in steps}
    found = []
    for row in rows:
        step = by_case[row["case_id"]]
        whole = {
            **row, "checkpoint_week": trained_in[row["arm"]], "trace_id": step.trace_id, "item_id": step.item_id,
            "failure_cluster": step.failure_cluster, "made_by": step.made_by, "answer": step.answer,
        }  # fmt: skip
        found.append({**whole, DIGEST: row_sha256(whole)})
    return found
