"""Preference pairs: the corrected step over the model's own wrong one, after the same history.

One pair a correction, on the first wrong step only: tool outputs and user turns never enter a log-probability.
"""

import json
from collections.abc import Iterable
from typing import Any

from flywheel.chat.render import Renderer
from flywheel.toolcalls.arguments import canonical_json, sha256_of


def preference_rows(
    corrections: Iterable[dict[str, Any]], kept_sources: set[str], renderer: Renderer, *, max_prompt_tokens: int
) -> list[dict[str, Any]]:
    """PREFERENCE_DATASET rows without partition columns.

    Args:
        corrections: `corrected_traces` rows, oldest week first.
        kept_sources: correction ids with at least one row in the supervised mix: what the benchmark bars there is barred
            here as well.
    """
    rows: dict[str, dict[str, Any]] = {}
    for correction in corrections:
        if correction["correction_id"] not in kept_sources:
            continue
        row = _pair(correction, renderer)
        if row["chosen"] != row["rejected"] and row["prompt_tokens"] <= max_prompt_tokens:
            rows[row["row_id"]] = row
    return [rows[key] for key in sorted(rows)]


def _pair(correction: dict[str, Any], renderer: Renderer) -> dict[str, Any]:
    messages = json.loads(correction["messages"])
    tools = json.loads(correction["tools"])
    rejected = json.loads(correction["rejected_message"])
    index = correction["first_bad_message_index"]
    history, chosen = messages[:index], messages[index]
    chosen_step = renderer.step(history, chosen, tools)
    rejected_step = renderer.step(history, rejected, tools)
    return {
        "row_id": sha256_of([tools, history, chosen, rejected])[:16],
        "source_id": correction["correction_id"],
        "from_week": correction["week"],
        "conversation_id": correction["conversation_id"],
        "failure_cluster": correction["failure_cluster"],
        "tools": canonical_json(tools),
        "tools_sha256": sha256_of(tools),
        "messages": canonical_json(history),
        "chosen": canonical_json(chosen),
        "rejected": canonical_json(rejected),
        "prompt_tokens": len(chosen_step.prompt_ids),
        "chosen_tokens": len(chosen_step.target_ids),
        "rejected_tokens": len(rejected_step.target_ids),
        "verified_by": correction["verified_by"],
        "annotator_kind": correction["annotator_kind"],
        "qa_mode": correction["qa_mode"],
    }
