"""Conflicts: one context with several accepted answers goes back to people, and an adjudicator says which is right.

The datasets find them (`dataset_conflicts`) and train none of the answers. The next batch holds an item for each, which starts before an
adjudicator; what they say is an accepted correction like any other, and a row of `conflict_decisions` that the datasets go by.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from flywheel.corrections.closing import current_batches, own_states
from flywheel.corrections.events import EventStore
from flywheel.corrections.states import OPEN, ItemState
from flywheel.corrections.verdict import judge
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Quality

Row = dict[str, Any]
_BY_PEOPLE = ("correction", "demonstration")
_NEEDED = ("correction_id", "trace_id", "conversation_id", "near_duplicate_group", "principal_ref", "failure_cluster", "bucket",
           "first_bad_message_index", "rejected_message", "messages", "tools", "annotator_kind")  # fmt: skip


class Conflict(NamedTuple):
    """One conflict to hand out: its `correction_batch` row without place and version, and what the store plants of it."""

    row: Row
    payload: dict[str, Any]


def conflicts_of(
    lake: Lake, workflow: str, *, before: str, handed_out: Collection[str] = (), most: int, qa_mode: str = "three"
) -> tuple[list[Conflict], int]:
    """The conflicts that the newest dataset before a week has and nobody decided yet, oldest first; and how many have to wait.

    Two runs that only a verifier accepted wake nobody: they stay out of training. An answer that came later makes a new item.

    Args:
        handed_out: items that people decided, or still have.
        most: how many are handed out at once.
    """
    weeks = lake.all_lineage(workflow=workflow, tables=["dataset_conflicts"]).filter(pl.col("week") < before)["week"]
    if not weeks.len():
        return [], 0
    found = lake.read_partition("dataset_conflicts", workflow=workflow, week=str(weeks.max()))
    sources = _sources(lake, workflow, found)
    made: list[tuple[str, Conflict]] = []
    for (_,), answers in sorted(found.group_by("context_id")):
        rows = answers.sort("from_week", "source_id", "message_index", nulls_last=False).to_dicts()
        base = next((row for row in reversed(rows) if row["source_id"] in sources), None)
        if base is not None:
            conflict = _conflict(base, rows, sources, qa_mode)
            if conflict.row["item_id"] not in handed_out:
                made.append((rows[-1]["from_week"] or "", conflict))
    ordered = [conflict for _, conflict in sorted(made, key=lambda one: (one[0], one[1].row["item_id"]))]
    return ordered[:most], max(0, len(ordered) - most)


def conflicts_handed_out(store: EventStore, workflow: str, *, before_week: str, quality: Quality) -> set[str]:
    """Conflicts of earlier weeks' batches that people decided, or still have.

    Not decided is what was still open when its batch closed, what the auditor refused, and what was decided in a batch that did not
    pass its gate: nothing of that batch trains, so the conflict would otherwise stay for ever.
    """
    found: set[str] = set()
    for batch in current_batches(store, workflow):
        states = {key: state for key, state in own_states(store, batch).items() if state.answers}
        if batch.week >= before_week or not states:
            continue
        if not batch.closed:
            found |= set(states)
        elif judge(store, batch, quality).ok:
            found |= {key for key, state in states.items() if not _undecided(state)}
    return found


def _undecided(state: ItemState) -> bool:
    return state.status in OPEN or state.audit == "failed"


def decision_rows(states: Mapping[str, ItemState], corrected: Iterable[Row]) -> list[Row]:
    """CONFLICT_DECISIONS rows without partition columns, of a closed batch's items and the corrections accepted in it."""
    accepted = {row["item_id"]: row for row in corrected}
    made = []
    for item_id, state in states.items():
        if not state.answers:
            continue
        correction, first = accepted.get(item_id), state.answers[0]
        same = correction and correction["first_bad_message_index"] == first["proposal"]["first_bad_message_index"]
        made.append({
            "item_id": item_id, "context_id": first["context_id"],
            "decision": "settled" if same else "open" if _undecided(state) else "dropped",
            "correction_id": correction["correction_id"] if correction and same else None,
            "adjudicator": state.adjudicator,
            "answers": canonical_json([answer["answer_id"] for answer in state.answers]),
        })  # fmt: skip
    return made


def _sources(lake: Lake, workflow: str, found: pl.DataFrame) -> dict[str, Row]:
    """Corrections and demonstrations behind the answers by id: whole messages, where candidates may hold shortened ones."""
    ids = found.filter(pl.col("source").is_in(_BY_PEOPLE))["source_id"].unique().to_list()
    corrections = lake.read_columns(
        "corrected_traces", _NEEDED, workflow=workflow, where=pl.col("correction_id").is_in(ids)
    )
    shown = lake.read_weeks("demonstrations", workflow=workflow).filter(pl.col("demonstration_id").is_in(ids))
    return {
        **{row["demonstration_id"]: row for row in shown.iter_rows(named=True)},
        **{row["correction_id"]: row for row in corrections.iter_rows(named=True)},
    }


def _conflict(base: Row, rows: list[Row], sources: Mapping[str, Row], qa_mode: str) -> Conflict:
    """The item: the run up to the step, the step as the model made it, where that is known, and every answer in its place."""
    source, index = sources[base["source_id"]], base["message_index"]
    messages = json.loads(source["messages"])
    model = (
        json.loads(source["rejected_message"]) if source.get("first_bad_message_index") == index else messages[index]
    )
    answers: dict[str, dict[str, Any]] = {}
    for row in rows:
        by = row["annotator"] or f"verified run {row['source_id']}"
        proposal = {"first_bad_message_index": index, "messages": [*messages[:index], json.loads(row["target"])],
                    "trainable_indices": [index], "suffix_mode": "truncated"}  # fmt: skip
        kind = sources[row["source_id"]]["annotator_kind"] if row["source_id"] in sources else "model"
        given = answers.setdefault(row["answer_id"], {
            "by": by, "given_by": [], "answer_id": row["answer_id"], "context_id": row["context_id"], "from_week": row["from_week"],
            "annotator_kind": kind, "proposal": proposal,
        })  # fmt: skip
        given["given_by"] = sorted({*given["given_by"], by})
    people = sorted({name for answer in answers.values() for name in answer["given_by"]})
    item_id = sha256_of(["conflict", base["context_id"], sorted(answers)])[:16]
    item = {
        "item_id": item_id, "trace_id": source.get("trace_id"), "failure_id": None,
        "failure_cluster": source.get("failure_cluster") or "unflagged", "bucket": source.get("bucket") or "unflagged",
        "severity": "major", "message_index": index, "priority": 0.0,
        "picked_because": f"conflict: {len(answers)} accepted answers to the same request, by {' and '.join(people)}",
        "near_duplicate_group": source.get("near_duplicate_group") or source["conversation_id"],
        "conversation_id": source["conversation_id"], "principal_ref": source.get("principal_ref"), "tools": source["tools"],
        "messages": canonical_json([*messages[:index], model]),
    }  # fmt: skip
    # Who gave an answer does not judge it; of two people nobody would be left.
    barred = [] if qa_mode == "two" else people
    return Conflict(item, {"kind": "conflict", "barred": barred, "answers": list(answers.values())})
