"""Preference pairs: the corrected step over the model's own wrong one, after the same history.

One pair a correction, on the first wrong step only: tool outputs and user turns never enter a log-probability. A pair stands where its
supervised row stands: what the benchmark, a conflict or a cap keeps out of the one is out of the other.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flywheel.toolcalls.arguments import sha256_of

_CARRIED = ("source_id", "trace_id", "principal_ref", "conversation_id", "bucket", "failure_cluster", "tools", "tools_sha256", "messages",
            "rejected", "prompt_tokens", "rejected_tokens", "verified_by", "annotator_kind", "qa_mode")  # fmt: skip


def preference_rows(
    kept: Iterable[Mapping[str, Any]], *, foreign: Collection[str] = frozenset()
) -> list[dict[str, Any]]:
    """PREFERENCE_DATASET rows without partition columns, from the TRAINING_STEPS rows that a mix kept.

    Args:
        foreign: traces that another base model wrote; what it got wrong says nothing of what this one would write.
    """
    rows: dict[str, dict[str, Any]] = {}
    for step in kept:
        if step["pair"] and step["rejected"] is not None and step["trace_id"] not in foreign:
            row = _pair(step)
            rows[row["row_id"]] = row
    return [rows[key] for key in sorted(rows)]


def _pair(step: Mapping[str, Any]) -> dict[str, Any]:
    parts = [json.loads(step[name]) for name in ("tools", "messages", "target", "rejected")]
    return {
        **{name: step[name] for name in _CARRIED},
        "row_id": sha256_of(parts)[:16],
        "from_week": step["week"],
        "chosen": step["target"],
        "chosen_tokens": step["target_tokens"],
    }
