"""A batch of simulated runs that a useless agent served, for tests of the experts' desk; no model, no Dagster."""

import asyncio
from typing import Any

import polars as pl

from flywheel.corrections.batches import Batch
from flywheel.corrections.events import EventStore
from flywheel.corrections.released import corrected_rows
from flywheel.demo import support_customers
from flywheel.demo.conversation import converse
from flywheel.demo.protocol import Goal
from flywheel.lake import TABLES
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Pack


async def useless(messages: list[dict]) -> dict:
    del messages
    return {"role": "assistant", "content": "We value your message."}


def make_batch(store: EventStore, pack: Pack, week: str, count: int) -> tuple[str, pl.DataFrame, dict[str, Goal]]:
    """Open a batch of `count` failed runs; returns its id, its `correction_batch` rows and the goals by trace id."""
    rows: list[dict[str, Any]] = []
    goals = {}
    for position, goal in enumerate(support_customers.make_goals(1, count, week)):
        talk = asyncio.run(converse(goal, useless, pack, support_customers, budget=8))
        trace_id = sha256_of(goal.goal_id)[:16]
        goals[trace_id] = goal
        rows.append({
            "week": week, "workflow": pack.name, "item_id": sha256_of([trace_id])[:16], "batch_version": week, "position": position,
            "trace_id": trace_id, "failure_id": trace_id, "failure_cluster": goal.wishes[0].kind, "bucket": "missing_call",
            "severity": "major", "message_index": 2, "picked_because": f"new cluster of {count}, major", "priority": 1.0,
            "near_duplicate_group": trace_id, "conversation_id": goal.goal_id, "principal_ref": None,
            "tools": canonical_json(pack.tools), "messages": canonical_json(talk.messages),
        })  # fmt: skip
    items = pl.DataFrame(rows, schema=TABLES["correction_batch"].polars_schema())
    batch = store.open_batch(
        week=week, workflow=pack.name, version="v", item_ids=[row["item_id"] for row in rows], qa_mode="three"
    )
    return batch, items, goals


def corrected(store: EventStore, batch: Batch, items: pl.DataFrame) -> pl.DataFrame:
    """The `corrected_traces` rows that the batch releases."""
    rows = [{"week": batch.week, "workflow": batch.workflow, **row} for row in corrected_rows(store, batch, items)]
    return pl.DataFrame(rows, schema=TABLES["corrected_traces"].polars_schema())


def conflict_item(pack: Pack, trace_id: str, messages: list[dict]) -> dict[str, Any]:
    """The `correction_batch` row of a conflict about the step after `messages`; its item has the id of the run."""
    return {
        "item_id": trace_id, "batch_version": "v", "position": 0, "trace_id": trace_id, "failure_id": None, "failure_cluster": "c",
        "bucket": "wrong_arguments", "severity": "major", "message_index": len(messages), "picked_because": "conflict: 2 accepted answers",
        "priority": 0.0, "near_duplicate_group": trace_id, "conversation_id": trace_id, "principal_ref": None,
        "tools": canonical_json(pack.tools), "messages": canonical_json([*messages, {"role": "assistant", "content": "Hm."}]),
    }  # fmt: skip


def conflict_payload(messages: list[dict], answers: list[dict]) -> dict[str, Any]:
    """What the store plants of a conflict whose people answered `answers` after `messages`."""
    given = [
        {"by": f"person-{n}", "given_by": [f"person-{n}"], "answer_id": sha256_of(answer)[:16], "context_id": "context", "from_week": None,
         "annotator_kind": "simulated", "proposal": {
             "first_bad_message_index": len(messages), "messages": [*messages, answer], "trainable_indices": [len(messages)],
             "suffix_mode": "truncated"}}
        for n, answer in enumerate(answers)
    ]  # fmt: skip
    return {"kind": "conflict", "barred": [one["by"] for one in given], "answers": given}
