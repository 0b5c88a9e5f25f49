"""Promotion of a failed production run into the benchmark: what the agent got wrong becomes a case it must get right.

Barred from training from then on: the run's conversation and its near-duplicate group, in this and any later week. Not barred: its
failure cluster, because the class of failure is what training must repair (design.md 8.21).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import Case, load_cases
from flywheel.benchmark.skeletons import answer_expectation
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json, parse_arguments
from flywheel.toolcalls.structured_answers import ResponseSchema, answer_fields, check_answer, response_at

FILE = "promoted.jsonl"
_CATEGORY = {"bad_recovery": "recovery", "refusal_error": "refusal"}


class Wanted(NamedTuple):
    """What a person says the right step is, where no accepted correction says it: calls, or phrases a reply must hold."""

    calls: list[dict[str, Any]] | None = None
    includes: list[str] | None = None


def case_of_trace(
    lake: Lake,
    workflow: str,
    trace_id: str,
    wanted: Wanted,
    *,
    category: str | None = None,
    responses: Sequence[ResponseSchema] = (),
) -> Case:
    """The case that a failed run makes, its expectation taken from its accepted correction, or from `wanted` where given.

    `responses` are the pack's: a correction that is an answer under one is expected field by field.

    Raises FlywheelError for an unknown run, a run on which no failure was found, and a missing expectation.
    """
    where = f"trace {trace_id} of {workflow}"
    trace = _first(lake, "production_traces", workflow, trace_id)
    if trace is None:
        raise FlywheelError("there is no such run", where=where, remedy="take a trace_id of production_failures")
    failure = _first(lake, "production_failures", workflow, trace_id)
    if failure is None:
        raise FlywheelError("no failure was found on that run", where=where,
                            remedy="promote a failed run; write a case for a good one by hand in benchmark/*.jsonl")  # fmt: skip
    correction = _first(lake, "corrected_traces", workflow, trace_id)
    index = correction["first_bad_message_index"] if correction else failure["message_index"]
    history = [message for message in json.loads(trace["messages"])[:index] if message["role"] != "system"]
    corrected = json.loads(correction["messages"])[: index + 1] if correction else []
    right = corrected[index] if corrected else None
    response = response_at(responses, corrected, index) if corrected else None
    group, conversations = _neighbours(lake, workflow, trace)
    tools = {failure["tool"], *(call["function"]["name"] for call in (right or {}).get("tool_calls") or [])} - {None}
    return Case.model_validate(
        {
            "id": f"promoted-{trace_id}",
            "cluster": f"promoted-{group}",
            "category": category or category_of(failure["bucket"], history),
            "exercises": {"buckets": [failure["bucket"]], "tools": sorted(tools)},
            "messages": history,
            "expectation": _expectation(wanted, right, response, where),
            "origin": {"trace_id": trace_id, "conversations": conversations},
        }
    )


def category_of(bucket: str, history: list[dict[str, Any]]) -> str:
    """The category of a step with this history that failed in this bucket, or that did not fail (an empty bucket)."""
    steps = sum(message["role"] == "assistant" for message in history)
    return _CATEGORY.get(bucket) or ("multi_step" if steps else "tool_calling")


def write_case(folder: Path, case: Case, tools: list[dict[str, Any]]) -> Path:
    """Add the case to the pack's `benchmark/promoted.jsonl`; the file is restored when the pack would not load with it."""
    file = folder / FILE
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    folder.mkdir(exist_ok=True)
    file.write_text(before + canonical_json(case.model_dump(mode="json", exclude_none=True)) + "\n", encoding="utf-8")
    try:
        load_cases(folder, tools)
    except FlywheelError:
        file.write_text(before, encoding="utf-8")
        raise
    return file


def touched_rows(lake: Lake, workflow: str, conversations: list[str]) -> dict[str, int]:
    """Week -> rows of `sft_dataset` that stem from the conversations: they were trained on, and will not be again."""
    rows = lake.read_weeks("sft_dataset", workflow=workflow).filter(pl.col("conversation_id").is_in(conversations))
    return dict(rows.group_by("week").len().sort("week").rows())


def _first(lake: Lake, table: str, workflow: str, trace_id: str) -> dict[str, Any] | None:
    found = lake.read_weeks(table, workflow=workflow).filter(trace_id=trace_id)
    return found.row(0, named=True) if found.height else None


def _neighbours(lake: Lake, workflow: str, trace: dict[str, Any]) -> tuple[str, list[str]]:
    """The run's near-duplicate group, and the conversations of all runs in it, the run's own first."""
    near = lake.read_weeks("near_duplicates", workflow=workflow).filter(week=trace["week"])
    own = near.filter(trace_id=trace["trace_id"])
    group = own["near_duplicate_group"][0] if own.height else trace["trace_id"]
    members = [trace["trace_id"], *near.filter(near_duplicate_group=group)["trace_id"]]
    traces = lake.read_weeks("production_traces", workflow=workflow).filter(pl.col("trace_id").is_in(members))
    return group, list(dict.fromkeys([trace["conversation_id"], *sorted(traces["conversation_id"])]))


def _expectation(
    wanted: Wanted, right: dict[str, Any] | None, response: ResponseSchema | None, where: str
) -> dict[str, Any]:
    calls, said = wanted.calls, str((right or {}).get("content") or "")
    if calls is None and not wanted.includes and response and not check_answer(response, said):
        return answer_expectation(response.name, answer_fields(said) or {})
    if calls is None and not wanted.includes and right:
        calls = [
            {"name": c["function"]["name"], "arguments": parse_arguments(c["function"]["arguments"]).value or {}}
            for c in right.get("tool_calls") or []
        ]
    if calls:
        exact = [{"name": c["name"], "arguments": {k: {"exact": v} for k, v in c["arguments"].items()}} for c in calls]
        return {"kind": "call", "calls": exact}
    if wanted.includes:
        return {"kind": "reply", "includes": [[phrase] for phrase in wanted.includes]}
    said = "its accepted correction is a reply in words" if right else "it has no accepted correction"
    raise FlywheelError(f"what is right there is not known: {said}", where=where,
                        remedy="""say it: --includes "a phrase the reply must hold", or --calls '[{"name": ..., "arguments": {...}}]'""")  # fmt: skip
