"""Triage of a whole week: streamed from the lake, shard by shard, in one process or several, and audited by a second engine."""

import json
import multiprocessing
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from flywheel.failures.finding import Rules
from flywheel.failures.triage import COLUMNS, Triage, Triaged
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack

DETECTORS_VERSION = "2"
AUDITED_CALLS = 500
AUDIT_SECONDS = 20


def rules_of(pack: Pack) -> Rules:
    """What a pack says about judging its runs."""
    scaffold = pack.settings.scaffold
    return Rules(
        tuple(pack.tools), frozenset(scaffold.tools), tuple(scaffold.call_id_prefixes), tuple(scaffold.argument_texts)
    )


def triage_week(
    lake: Lake, *, workflow: str, week: str, shards: int, workers: int, toolsets: Mapping[str, str], rules: Rules
) -> Triaged:
    """All failures of a week in the order of their ids, whichever way the work was cut."""
    if workers == 1 or shards == 1:
        parts = [_shard(lake.root, workflow, week, None, toolsets, rules)]
    else:
        with ProcessPoolExecutor(min(workers, shards), multiprocessing.get_context("spawn")) as pool:
            jobs = [
                pool.submit(_shard, lake.root, workflow, week, shard, dict(toolsets), rules) for shard in range(shards)
            ]
            parts = [job.result() for job in jobs]
    opportunities: Counter[tuple[str, str | None]] = Counter()
    for part in parts:
        opportunities.update(part.opportunities)
    failures = [failure for part in parts for failure in part.failures]
    return Triaged(sorted(failures, key=lambda row: row["failure_id"]), opportunities)


def _shard(
    root: Path, workflow: str, week: str, shard: int | None, toolsets: Mapping[str, str], rules: Rules
) -> Triaged:
    triage = Triage(toolsets, rules)
    failures: list[dict[str, Any]] = []
    opportunities: Counter[tuple[str, str | None]] = Counter()
    for frame in Lake(root).batches("production_traces", workflow=workflow, week=week, columns=COLUMNS, shard=shard):
        part = triage.frame(frame)
        failures += part.failures
        opportunities.update(part.opportunities)
    return Triaged(failures, opportunities)


def audit_sample(lake: Lake, *, workflow: str, week: str, toolsets: Mapping[str, str]) -> str:
    """A sample of the week's calls judged again by `jsonschema`, in a child with a time limit; the sentence for the analyst.

    The sample is the first calls by trace id, which is a hash. Patterns of unknown origin can hang that engine, hence the limit.
    """
    calls: list[tuple[str, str, str, bool]] = []
    for frame in lake.batches(
        "production_traces", workflow=workflow, week=week, columns=["trace_id", "messages", "tools_sha256"], rows=500
    ):
        for row in frame.sort("trace_id").iter_rows(named=True):
            tools = json.loads(toolsets.get(row["tools_sha256"], "[]"))
            for message in json.loads(row["messages"]):
                for call in message.get("tool_calls") or []:
                    name, arguments = call["function"]["name"], call["function"]["arguments"]
                    schema = next(
                        (t["function"].get("parameters") for t in tools if t["function"]["name"] == name), None
                    )
                    if isinstance(schema, dict) and parse_arguments(arguments).value is not None:
                        calls.append((json.dumps(schema), arguments, name, not check_call(tools, name, arguments)))
            if len(calls) >= AUDITED_CALLS:
                return _audited(calls[:AUDITED_CALLS])
    return _audited(calls)


def _audited(calls: list[tuple[str, str, str, bool]]) -> str:
    if not calls:
        return "no call to audit"
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_second_opinion, args=(calls, sending), daemon=True)
    child.start()
    sending.close()
    try:
        answered = receiving.poll(AUDIT_SECONDS)
        differing: list[str] | None = receiving.recv() if answered else None
    except EOFError:
        differing = None
    finally:
        child.kill()
        child.join()
    if differing is None:
        return f"jsonschema did not finish {len(calls)} calls in {AUDIT_SECONDS} s, or is not installed; verdicts are jsonschema-rs's alone"
    return f"{len(calls) - len(differing)} of {len(calls)} calls judged alike by jsonschema" + (
        f"; differing: {', '.join(sorted(set(differing))[:5])}" if differing else ""
    )


def _second_opinion(calls: list[tuple[str, str, str, bool]], sending: Any) -> None:
    import jsonschema
    import referencing

    validators: dict[str, Any] = {}
    differing = []
    for schema, arguments, name, valid in calls:
        if schema not in validators:  # an empty registry: nothing is fetched
            validators[schema] = jsonschema.Draft202012Validator(json.loads(schema), registry=referencing.Registry())
        if validators[schema].is_valid(json.loads(arguments)) != valid:
            differing.append(name)
    sending.send(differing)
