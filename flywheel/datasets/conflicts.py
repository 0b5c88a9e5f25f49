"""Conflicts: one context, two accepted answers. Neither trains until people agree; the first never wins silently.

The table `dataset_conflicts` hands them over: the next correction batch holds an item for each, and what its adjudicator decides comes
back as `conflict_decisions` (see `flywheel.corrections.conflicts`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake import Lake

_SHOWN = ("context_id", "row_id", "source", "source_id", "message_index", "from_week", "trace_id", "conversation_id", "principal_ref",
          "annotator", "answer_id", "target")  # fmt: skip
# Replay keeps the base model as it is; it never contradicts a person.
_ANSWERED_BY_PEOPLE = ("correction", "demonstration", "verified")


class Settlement(NamedTuple):
    """What an adjudicator decided: the correction that holds, and the answer ids that they saw."""

    correction_id: str
    answers: frozenset[str]


def settlements(lake: Lake, workflow: str, week: str) -> dict[str, Settlement]:
    """context_id -> its newest settlement up to a week."""
    decided = lake.read_weeks("conflict_decisions", workflow=workflow, until=week).filter(decision="settled")
    return {
        row["context_id"]: Settlement(row["correction_id"], frozenset(json.loads(row["answers"])))
        for row in decided.sort("week").iter_rows(named=True)
    }


def overruled(rows: Iterable[Mapping[str, Any]], settled: Mapping[str, Settlement]) -> dict[tuple[str, str], str]:
    """(context_id, answer_id) of answers that an adjudicator saw and decided against -> the correction that holds.

    An answer that came later was not seen: it makes a new conflict. So does a settlement that was itself withdrawn.
    """
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        one = settled.get(row["context_id"])
        if one and row["source_id"] == one.correction_id:
            lost = one.answers - {row["answer_id"]}
            found.update({(row["context_id"], answer): one.correction_id for answer in lost})
    return found


def contested(rows: pl.DataFrame) -> set[str]:
    """context_ids with at least two different accepted answers; `rows` has source, context_id and answer_id."""
    answered = rows.filter(pl.col("source").is_in(_ANSWERED_BY_PEOPLE)).group_by("context_id")
    return set(answered.agg(pl.col("answer_id").n_unique()).filter(pl.col("answer_id") > 1)["context_id"])


def conflicts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """DATASET_CONFLICTS rows: every answer of every contested context, in stable order."""
    schema = {"source": pl.String, "context_id": pl.String, "answer_id": pl.String}
    disputed = contested(pl.DataFrame([[row[name] for name in schema] for row in rows], schema=schema, orient="row"))
    answers = [row for row in rows if row["context_id"] in disputed and row["source"] in _ANSWERED_BY_PEOPLE]
    ordered = sorted(answers, key=lambda row: (row["context_id"], row["source_id"], row["message_index"]))
    return [{name: row[name] for name in _SHOWN} for row in ordered]


def sentence(found: list[dict[str, Any]], decisions: pl.DataFrame) -> str:
    """What an analyst reads about the conflicts of a build; `decisions` are the CONFLICT_DECISIONS rows so far."""
    contexts = {row["context_id"] for row in found}
    last = dict(decisions.sort("week").select("context_id", "decision").rows())
    settled = sum(decision == "settled" and context not in contexts for context, decision in last.items())
    told = f"{settled} conflicts are settled by adjudicators"
    if not contexts:
        return f"{told}; no other context has two different accepted answers"
    dropped = sum(last.get(context) == "dropped" for context in contexts)
    verified = sum({r["source"] for r in found if r["context_id"] == c} == {"verified"} for c in contexts)
    who = sorted({str(row["annotator"]) for row in found if row["annotator"]})
    return (
        f"{told}; {len(contexts)} contexts have different accepted answers ({len(found)} steps by {', '.join(who[:5]) or 'unknown'}) and none "
        f"of them trains: {len(contexts) - dropped - verified} go to the next batch's adjudicators, {dropped} were dropped by them, {verified} "
        "are between verified runs only; all are listed in dataset_conflicts"
    )
