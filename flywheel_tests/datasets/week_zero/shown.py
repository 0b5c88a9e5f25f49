"""Demonstrations of the door pack, and a lake with old runs of it."""

from typing import Any

from flywheel.datasets.week_zero.ledger import Row, draft
from flywheel.lake import TABLES, Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.workflows.pack import Pack
from flywheel_tests.datasets.samples import called, said

WEEK = "2026-01-12"


def conversation(pack: Pack, text: str, *steps: dict[str, Any], result: str = "{}") -> list[dict[str, Any]]:
    """A run: the system prompt, what the user says, the steps with their results."""
    messages = [{"role": "system", "content": pack.system}, {"role": "user", "content": text}]
    for step in steps:
        messages.append(step)
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": result} for call in step.get("tool_calls") or []
        ]
    return messages


def written(pack: Pack, text: str, *steps: dict[str, Any], by: str = "ann", **more: Any) -> Row:
    """A draft that a person wrote."""
    return draft(conversation(pack, text, *steps), pack.tools, source="person", annotator=by, annotator_kind="human",
                 conversation_id=f"written-{text}", **more)  # fmt: skip


def refusals(pack: Pack, count: int, **more: Any) -> list[Row]:
    """Drafts that change nothing: answers in words."""
    return [written(pack, f"sing song number {n}", said("I only open and close doors."), **more) for n in range(count)]


def opens(pack: Pack, door: str = "red", text: str = "let me in", **more: Any) -> Row:
    """A draft that opens a door, which changes something."""
    return written(pack, f"{text} by the {door} door", called("open_door", door=door), said("It is open."), **more)


def old_run(pack: Pack, key: str, text: str, *steps: dict[str, Any], result: str = "{}", **more: Any) -> dict[str, Any]:
    """A PRODUCTION_TRACES row."""
    empty = dict.fromkeys(
        name for name in TABLES["production_traces"].polars_schema() if name not in ("week", "workflow")
    )
    return {**empty, "shard": 0, "schema_version": 1, "trace_id": key, "conversation_id": f"k-{key}", "principal_ref": f"p-{key}",
            "adapter_id": "base", "tools_sha256": "", "outcome_status": "success", "environment": "production",
            "messages": canonical_json(conversation(pack, text, *steps, result=result)), **more}  # fmt: skip


def collected(
    lake: Lake, pack: Pack, *runs: dict[str, Any], failed: tuple[str, ...] = (), groups: dict[str, str] | None = None
) -> None:
    """A week that was collected: its runs, those with a failure, and near-duplicate groups."""
    lake.replace_partition("production_traces", list(runs), workflow=pack.name, week=WEEK)
    empty = dict.fromkeys(
        name for name in TABLES["production_failures"].polars_schema() if name not in ("week", "workflow")
    )
    rows = [{**empty, "failure_id": f"f-{key}", "trace_id": key} for key in failed]
    lake.replace_partition("production_failures", rows, workflow=pack.name, week=WEEK)
    near = [{"trace_id": run["trace_id"], "request_sha256": "", "near_duplicate_group": (groups or {}).get(run["trace_id"], run["trace_id"])}
            for run in runs]  # fmt: skip
    lake.replace_partition("near_duplicates", near, workflow=pack.name, week=WEEK)
