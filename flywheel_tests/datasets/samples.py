"""A small lake to build datasets in: a frozen benchmark, corrections by week, and the workshop over them."""

from datetime import UTC, datetime
from typing import Any

from flywheel.benchmark.cases import load_cases
from flywheel.benchmark.freeze import frozen_and_retired, frozen_row
from flywheel.chat import Renderer
from flywheel.datasets.refresh import Workshop
from flywheel.lake import TABLES, Lake
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.workflows.pack import Pack

WEEKS = ("2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26", "2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02",
         "2026-03-09")  # fmt: skip


def called(name: str, number: int = 0, **arguments: Any) -> dict[str, Any]:
    """An assistant message with one call."""
    function = {"name": name, "arguments": canonical_json(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
    }


def said(text: str) -> dict[str, Any]:
    """An assistant message in words."""
    return {"role": "assistant", "content": text}


def correction(
    pack: Pack, text: str, *right: dict[str, Any], wrong: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A CORRECTED_TRACES row: the user says `text`, the right steps follow, each call answered by an empty result."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": pack.system}, {"role": "user", "content": text}]
    trainable = []
    for step in right:
        trainable.append(len(messages))
        messages.append(step)
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": "{}"} for call in step.get("tool_calls") or []
        ]
    key = sha256_of([messages, changes])[:16]
    empty = {name: None for name in TABLES["corrected_traces"].polars_schema() if name not in ("week", "workflow")}
    return {
        **empty, "correction_id": f"c-{key}", "item_id": f"i-{key}", "batch_version": "b1", "trace_id": f"t-{key}", "conversation_id": f"k-{key}",
        "near_duplicate_group": f"t-{key}", "principal_ref": f"p-{key}", "failure_cluster": "a cluster", "bucket": "wrong_tool_selection",
        "first_bad_message_index": trainable[0], "suffix_mode": "truncated", "tools": canonical_json(pack.tools),
        "messages": canonical_json(messages), "trainable_indices": canonical_json(trainable),
        "rejected_message": canonical_json(wrong or said("I do not know.")), "qa_mode": "three", "annotator_kind": "human", "annotator": "ann",
        "reviewer": "rob", "adjudicator": None, "auditor": None, "returns": 0, "verified_by": "qa_three",
        "accepted_at": datetime(2026, 1, 6, tzinfo=UTC), **changes,
    }  # fmt: skip


def workshop(lake: Lake, pack: Pack, renderer: Renderer, **settings: Any) -> Workshop:
    """A workshop whose lake has the pack's benchmark frozen; `settings` change the pack's `datasets` settings."""
    if not lake.has_partition("benchmark", workflow=pack.name):
        rows = [frozen_row(case, pack.tools_sha256) for case in load_cases(pack.folder / "benchmark", pack.tools)]
        lake.replace_partition("benchmark", frozen_and_retired(lake.empty("benchmark"), rows), workflow=pack.name)
    changed = pack.settings.model_copy(update={"datasets": pack.settings.datasets.model_copy(update=settings)})
    return Workshop(lake, Pack(**{**vars(pack), "settings": changed}), renderer, "base")


def put(shop: Workshop, week: str, *rows: dict[str, Any]) -> None:
    """Write a week's corrections."""
    shop.lake.replace_partition("corrected_traces", list(rows), workflow=shop.pack.name, week=week)
