"""From the event log to `corrected_traces`: what a closed batch releases, and the account of it."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

import polars as pl

from flywheel.corrections.closing import own_states
from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.states import OPEN, ItemState
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of


def closed_batch(store: EventStore, week: str, workflow: str) -> Batch:
    """The closed batch of a week; raises FlywheelError saying how far it is when people still work on it."""
    batch = store.batch_of(week, workflow)
    if batch is None:
        raise FlywheelError("no correction batch was opened", where=f"{workflow}, week {week}",
                            remedy=f"flywheel run --workflow {workflow} --week {week} --stage collect")  # fmt: skip
    if not batch.closed:
        states = own_states(store, batch)
        done = sum(state.status not in OPEN for state in states.values())
        raise FlywheelError(f"the correction batch is still open: {done} of {len(batch.item_ids)} items are done",
                            where=f"{workflow}, week {week}", remedy="finish and close the batch, then run learn")  # fmt: skip
    return batch


def corrected_rows(store: EventStore, batch: Batch, items: pl.DataFrame) -> list[dict[str, Any]]:
    """CORRECTED_TRACES rows without partition columns: every accepted item of the batch, none else.

    Planted items never get here: only ids the batch was opened with count, and none that a plant event made.
    """
    store.verify_chain()
    states = own_states(store, batch)
    by_id = {row["item_id"]: row for row in items.iter_rows(named=True)}
    accepted = {item_id: state for item_id, state in states.items() if state.status in ("accepted", "released")}
    missing = sorted(set(accepted) - set(by_id))
    if missing:
        raise FlywheelError(f"{len(missing)} accepted items are not in correction_batch: {missing[0]}",
                            where=f"{batch.workflow}, week {batch.week}",
                            remedy="correction_batch was rewritten after hand-out; restore the version handed out")  # fmt: skip
    return [_row(by_id[item_id], state, batch) for item_id, state in sorted(accepted.items())]


def found_right(store: EventStore, batch: Batch) -> set[str]:
    """Items whose runs people found right as they are, and whose reviewer or adjudicator confirmed it: nothing was to be corrected."""
    states = own_states(store, batch)
    return {
        key
        for key, state in states.items()
        if state.status == "dropped" and state.confirmed and (state.proposal or {}).get("unfixable") == "not_a_failure"
    }


def withdrawn(store: EventStore, batch: Batch) -> list[str]:
    """Items taken back after they were accepted; what was made of the batch is made again when they change."""
    return sorted(key for key, state in own_states(store, batch).items() if state.status == "withdrawn")


def summary(store: EventStore, batch: Batch) -> dict[str, int]:
    """Items by final state, and how many were returned, disputed or audited."""
    states = own_states(store, batch).values()
    return {
        **dict(sorted(Counter(state.status for state in states).items())),
        "items": len(batch.item_ids),
        "returned": sum(state.returns > 0 for state in states),
        "adjudicated": sum(state.adjudicator is not None for state in states),
        "audited": sum(state.audit is not None for state in states),
        "failed_audit": sum(state.audit == "failed" for state in states),
    }


def _row(item: dict[str, Any], state: ItemState, batch: Batch) -> dict[str, Any]:
    proposal = state.proposal or {}
    messages, index = proposal["messages"], proposal["first_bad_message_index"]
    return {
        "correction_id": sha256_of([item["item_id"], messages])[:16],
        "batch_version": batch.version,
        "first_bad_message_index": index,
        "suffix_mode": proposal["suffix_mode"],
        "messages": canonical_json(messages),
        "trainable_indices": canonical_json(proposal["trainable_indices"]),
        "rejected_message": canonical_json(json.loads(item["messages"])[index]),
        "qa_mode": batch.qa_mode,
        "annotator_kind": state.annotator_kind,
        "annotator": state.annotator,
        "editor": state.author if state.author != state.annotator else None,
        "reviewer": state.reviewer,
        "adjudicator": state.adjudicator,
        "auditor": state.auditor,
        "returns": state.returns,
        "verified_by": f"qa_{batch.qa_mode}",
        "accepted_at": datetime.fromisoformat(str(state.accepted_at)),
        **{name: item[name] for name in (
            "item_id", "trace_id", "conversation_id", "near_duplicate_group", "principal_ref", "failure_cluster", "bucket",
            "tools",
        )},
    }  # fmt: skip
