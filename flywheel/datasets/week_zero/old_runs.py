"""Successful old runs as demonstrations: those that a verifier named in the pack passed, and those a person is asked about.

"No failure was detected" never qualifies (design.md 8.7), nor does the source's own word that a run succeeded: such a run is proposed, and
counts once a person accepted it.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.fingerprints import calls_in
from flywheel.benchmark.leaks import LeakCandidate, Registry, find_leaks
from flywheel.datasets.steps import user_text
from flywheel.datasets.verified import passed_by
from flywheel.datasets.week_zero.cells import Cell, cell_of_run
from flywheel.datasets.week_zero.ledger import Row, draft, problem_with
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack

_COLUMNS = ("trace_id", "conversation_id", "principal_ref", "tenant_id", "adapter_id", "tools_sha256", "messages", "reward", "outcome_status",
            "expected_actions", "environment")  # fmt: skip


class Taken(NamedTuple):
    """Old runs taken for the plan.

    Attributes:
        verified, proposed: drafts of those a verifier passed, and of those a person is asked about.
        rewarded: proposed ones with the source's full reward, which the verifier `reward` would pass.
        passed_over: why others were not taken.
    """

    verified: list[Row]
    proposed: list[Row]
    rewarded: int
    passed_over: Counter[str]


def old_runs(
    lake: Lake, pack: Pack, wanted: Mapping[Cell, int], known: Collection[str], registry: Registry | None
) -> Taken:
    """Runs of all collected weeks that fill the wanted cells, verified ones first, one of each near-duplicate group.

    Args:
        known: trace ids that were taken before.
        registry: fingerprints of the benchmark, whose neighbours are passed over; None where nothing was ever frozen.
    """
    good = (pl.col("outcome_status") == "success") | (pl.col("reward") >= 1) | pl.col("expected_actions").is_not_null()
    traces = lake.read_columns("production_traces", _COLUMNS, workflow=pack.name, where=good)
    failed = set(lake.read_columns("production_failures", ("trace_id",), workflow=pack.name)["trace_id"])
    groups = dict(lake.read_columns("near_duplicates", ("trace_id", "near_duplicate_group"), workflow=pack.name).rows())
    toolsets = dict(lake.read_weeks("toolsets", workflow=pack.name).select("tools_sha256", "tools").rows())
    passed_over: Counter[str] = Counter()
    found: list[tuple[bool, str, Row]] = []
    for trace in traces.iter_rows(named=True):
        if trace["trace_id"] in known:
            continue
        if trace["trace_id"] in failed:
            passed_over["a failure was found on it"] += 1
            continue
        verifier = passed_by(trace, pack.settings.verifiers)
        if verifier is None and trace["outcome_status"] != "success" and (trace["reward"] or 0) < 1:
            continue  # only gold actions, and they were not met: nobody says that it succeeded
        row = _draft(trace, toolsets, pack, verifier)
        if reason := _unusable(row, pack, registry):
            passed_over[reason] += 1
        else:
            found.append((verifier is None, sha256_of(trace["trace_id"]), row))
    taken = _fill([row for *_, row in sorted(found, key=lambda one: one[:2])], wanted, groups, known, pack, passed_over)
    verified = [row for row in taken if row["verifier"]]
    proposed = [row for row in taken if not row["verifier"]]
    full = set(traces.filter(pl.col("reward") >= 1)["trace_id"])
    return Taken(verified, proposed, sum(row["trace_id"] in full for row in proposed), passed_over)


def _draft(trace: Mapping[str, Any], toolsets: Mapping[str, str], pack: Pack, verifier: str | None) -> Row:
    logged = toolsets.get(trace["tools_sha256"])
    return draft(
        _up_to_the_last_step(json.loads(trace["messages"])), json.loads(logged) if logged else pack.tools, source="run",
        annotator=trace["adapter_id"] or "unknown", annotator_kind="simulated" if trace["environment"] == "simulated" else "model",
        conversation_id=trace["conversation_id"], verifier=verifier, trace_id=trace["trace_id"],
        principal_ref=trace["principal_ref"], tenant_id=trace["tenant_id"],
    )  # fmt: skip


def _up_to_the_last_step(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The run without what the person said after the agent's last step: a goodbye waits for nobody."""
    while messages and messages[-1]["role"] == "user":
        messages = messages[:-1]
    return messages


def _unusable(row: Row, pack: Pack, registry: Registry | None) -> str | None:
    """Why a run cannot be a demonstration today, or None."""
    if problem_with(row):
        return "it is no whole run with valid calls"
    calls = [call["function"] for message in row["messages"] for call in message.get("tool_calls") or []]
    if any(check_call(pack.tools, call["name"], call["arguments"]) for call in calls):
        return "it calls a tool as today's pack does not have it"
    candidate = LeakCandidate(row["id"], row["conversation_id"], user_text(row["messages"]), calls_in(row["messages"]))
    if registry and find_leaks(registry, [candidate]):
        return "it is near a benchmark case"
    return None


def _fill(
    rows: Sequence[Row], wanted: Mapping[Cell, int], groups: Mapping[str, str], known: Collection[str], pack: Pack,
    passed_over: Counter[str],
) -> list[Row]:  # fmt: skip
    """The rows that fill the wanted cells, in their order."""
    left, writing = dict(wanted), pack.write_tools()
    seen = {groups.get(trace_id, trace_id) for trace_id in known}
    taken = []
    for row in rows:
        group = groups.get(row["trace_id"], row["trace_id"])
        cell = cell_of_run(row["messages"], row["trains_from"], writing)
        if group in seen:
            passed_over["its near-duplicate is taken"] += 1
        elif left.get(cell, 0) <= 0:
            passed_over["its cell of the plan has enough"] += 1
        else:
            left[cell] -= 1
            seen.add(group)
            taken.append(row)
    return taken
