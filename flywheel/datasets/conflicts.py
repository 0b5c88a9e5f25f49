"""Conflicts: one context, two accepted answers. Neither trains until people agree; the first never wins silently.

Handing a conflict back to adjudication is the QA store's affair: `conflicts` gives what it needs, every answer with its source.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SHOWN = ("context_id", "row_id", "source", "source_id", "message_index", "from_week", "trace_id", "conversation_id", "principal_ref",
          "annotator", "answer_id", "target")  # fmt: skip
# Replay keeps the base model as it is; it never contradicts a person.
_ANSWERED_BY_PEOPLE = ("correction", "demonstration", "verified")


def contested(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """context_ids with at least two different accepted answers."""
    answers: dict[str, set[str]] = {}
    for row in rows:
        if row["source"] in _ANSWERED_BY_PEOPLE:
            answers.setdefault(row["context_id"], set()).add(row["answer_id"])
    return {context for context, given in answers.items() if len(given) > 1}


def conflicts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """DATASET_CONFLICTS rows: every answer of every contested context, in stable order."""
    disputed = contested(rows)
    answers = [row for row in rows if row["context_id"] in disputed and row["source"] in _ANSWERED_BY_PEOPLE]
    ordered = sorted(answers, key=lambda row: (row["context_id"], row["source_id"], row["message_index"]))
    return [{name: row[name] for name in _SHOWN} for row in ordered]


def sentence(found: list[dict[str, Any]]) -> str:
    """What an analyst reads about the conflicts of a build."""
    contexts = {row["context_id"] for row in found}
    if not contexts:
        return "no context has two different accepted answers"
    who = sorted({str(row["annotator"]) for row in found if row["annotator"]})
    return (
        f"{len(contexts)} contexts have different accepted answers ({len(found)} steps by {', '.join(who[:5]) or 'unknown'}); "
        "none of them trains: settle each in adjudication, they are listed in dataset_conflicts"
    )
