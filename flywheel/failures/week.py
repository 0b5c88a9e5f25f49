"""Triage of a whole week: streamed from the lake, shard by shard, and audited by a second engine."""

import json
import multiprocessing
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.detectors.finding import Rules
from flywheel.failures.triage import COLUMNS, Triage
from flywheel.lake import TABLES, Lake
from flywheel.parallel import IN_THIS_PROCESS, Workers, map_shards
from flywheel.toolcalls.arguments import parse_arguments
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack

DETECTORS_VERSION = "3"
AUDITED_CALLS = 500
AUDIT_SECONDS = 20


def rules_of(pack: Pack) -> Rules:
    """What a pack says about judging its runs."""
    scaffold = pack.settings.scaffold
    return Rules(
        tuple(pack.tools),
        frozenset(scaffold.tools),
        tuple(scaffold.call_id_prefixes),
        tuple(scaffold.argument_texts),
        pack.responses,
    )


class TriagedWeek(NamedTuple):
    """PRODUCTION_FAILURES rows without partition columns, and (adapter, tool) -> runs in which the tool was called; see `Triaged`."""

    failures: pl.DataFrame
    opportunities: Counter[tuple[str, str | None]]


def failures_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Failures as the table has them, without partition columns."""
    declared = TABLES["production_failures"].polars_schema()
    schema = {name: kind for name, kind in declared.items() if name not in ("week", "workflow")}
    return pl.DataFrame(rows, schema=schema, orient="row")  # pyright: ignore[reportArgumentType]


def triage_week(
    lake: Lake,
    *,
    workflow: str,
    week: str,
    toolsets: Mapping[str, str],
    rules: Rules,
    workers: Workers = IN_THIS_PROCESS,
) -> TriagedWeek:
    """All failures of a week in the order of their ids, whichever way the work was cut and whoever did it."""
    root = lake.root.absolute() if isinstance(lake.root, Path) else lake.root  # a worker may stand in another folder
    judge = partial(_shard, root, workflow, week, dict(toolsets), rules)
    shards = _shards(lake, workflow, week)
    parts = list(map_shards(judge, shards, workers, what="finding failures", name="shard {}".format))
    opportunities: Counter[tuple[str, str | None]] = Counter()
    for part in parts:
        opportunities.update(part.opportunities)
    failures = pl.concat([failures_frame([]), *(part.failures for part in parts)])
    return TriagedWeek(failures.sort("failure_id"), opportunities)


def _shards(lake: Lake, workflow: str, week: str) -> list[int | None]:
    """The shards that the week was written in, whatever the pack says by now; None stands for rows of every shard."""
    rows = lake.read_columns("production_traces", ["shard"], workflow=workflow, where=pl.col("week") == week)
    found = rows["shard"].unique().sort().to_list()
    return [None] if None in found else found


def _shard(
    root: Path | str, workflow: str, week: str, toolsets: Mapping[str, str], rules: Rules, shard: int | None
) -> TriagedWeek:
    """Failures of the runs of one shard; as a frame, which costs the process that waits a fifth of what rows do."""
    triage = Triage(toolsets, rules)
    failures: list[dict[str, Any]] = []
    opportunities: Counter[tuple[str, str | None]] = Counter()
    for frame in Lake(root).batches("production_traces", workflow=workflow, week=week, columns=COLUMNS, shard=shard):
        part = triage.frame(frame)
        failures += part.failures
        opportunities.update(part.opportunities)
    return TriagedWeek(failures_frame(failures), opportunities)


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
