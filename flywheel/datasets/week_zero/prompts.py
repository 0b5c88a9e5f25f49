"""Prompts from old runs: what people asked the agent, as tasks for experts and teachers, with what the tools said then.

A prompt is a line of the pack's `tasks.jsonl` whose id is `run-` and the run's trace id: so it is known whose it is, and erased with them.
Runs that failed come first: there a demonstration says most. Nothing near the benchmark is asked for.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.leaks import LeakCandidate, Registry, find_leaks
from flywheel.datasets.steps import user_text
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of, whole_lines
from flywheel.workflows.pack import Pack

TASKS, OF_A_RUN = "tasks.jsonl", "run-"


class Asked(NamedTuple):
    """Tasks made of runs, and why other runs were passed over."""

    tasks: list[dict[str, Any]]
    passed_over: Counter[str]


def prompts_of_runs(lake: Lake, pack: Pack, count: int, known: Collection[str], registry: Registry | None) -> Asked:
    """Up to `count` tasks from collected runs, failed ones first, one of each near-duplicate group.

    Args:
        known: ids of tasks there are already.
        registry: fingerprints of the benchmark; None where nothing was ever frozen.
    """
    columns = ("trace_id", "conversation_id", "messages", "outcome_status")
    runs = lake.read_columns(
        "production_traces", columns, workflow=pack.name, where=pl.col("outcome_status") != "success"
    )
    failed = set(lake.read_columns("production_failures", ("trace_id",), workflow=pack.name)["trace_id"])
    groups = dict(lake.read_columns("near_duplicates", ("trace_id", "near_duplicate_group"), workflow=pack.name).rows())
    seen = {groups.get(trace_id, trace_id) for one in known if (trace_id := trace_of(one))}
    asked = Asked([], Counter())
    ordered = sorted(
        runs.iter_rows(named=True), key=lambda run: (run["trace_id"] not in failed, sha256_of(run["trace_id"]))
    )
    for run in ordered:
        if len(asked.tasks) >= count:
            break
        group, task = groups.get(run["trace_id"], run["trace_id"]), _task(run, pack)
        reason = (
            "it does not begin with a person"
            if task is None
            else "its near-duplicate is a prompt"
            if group in seen
            else None
        )
        if task is None or reason or (reason := _near(task, registry)):
            asked.passed_over[str(reason)] += f"{OF_A_RUN}{run['trace_id']}" not in known
            continue
        seen.add(group)
        asked.tasks.append(task)
    return Asked(asked.tasks, +asked.passed_over)


def trace_of(task_id: str) -> str | None:
    """The run that a task was made of, by its id; None for a task that somebody wrote."""
    return task_id.removeprefix(OF_A_RUN) if task_id.startswith(OF_A_RUN) else None


def prompt_id(task_id: str) -> str:
    """The id of a task's prompt in the workbench: in addresses, and of drafts in its store."""
    return sha256_of(["prompt", task_id])[:12]


def forget_prompts(file: Path, trace_ids: Collection[str]) -> int:
    """Take the tasks made of some runs out of a pack's `tasks.jsonl`, byte by byte: a line that a person broke is a person's, too."""
    lines = whole_lines(file.read_text(encoding="utf-8")) if file.is_file() and trace_ids else []
    kept = [line for line in lines if not any(f'"{OF_A_RUN}{trace_id}"' in line for trace_id in trace_ids)]
    if len(kept) < len(lines):
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(file)
    return len(lines) - len(kept)


def _task(run: Mapping[str, Any], pack: Pack) -> dict[str, Any] | None:
    """The run's opening under today's system prompt, and the whole run for what its tools said; None where no person speaks first."""
    messages = [one for one in json.loads(run["messages"]) if one["role"] != "system"]
    opening = messages[: next((at for at, one in enumerate(messages) if one["role"] == "assistant"), len(messages))]
    if not opening or any(one["role"] != "user" for one in opening):
        return None
    system = {"role": "system", "content": pack.system}
    return {"id": f"{OF_A_RUN}{run['trace_id']}", "messages": [system, *opening], "recorded": [system, *messages],
            "conversation_id": run["conversation_id"]}  # fmt: skip


def _near(task: Mapping[str, Any], registry: Registry | None) -> str | None:
    candidate = LeakCandidate(task["id"], task["conversation_id"] or "", user_text(task["messages"]))
    return "it is near a benchmark case" if registry and find_leaks(registry, [candidate]) else None
