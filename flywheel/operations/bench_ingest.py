"""The `ingest` rows of `make bench`: one week from its files to its failure table, in CPU seconds of one thread.

Both ways give the same: a trace table (ids, pseudonyms, content hashes, counts of steps, calls and tool errors), re-sent runs left
out, the near-duplicate groups, and the failures of every detector with their evidence, written as three Delta tables. A test holds
them to the same failures and groups.

Ours (`whole_week`) is what production does, and so does more: it also refuses what is no strict JSON, lays rows out by week and
shard, keeps the account of every record, a digest a row, the lineage and the opportunities of each tool; `ingest_redacted` adds the
redaction by patterns.

The comparison (`plain_week`) is the loop one would write in Python: a trace at a time with `json` and `jsonschema`. It shares with
ours what is not compared, and what it would be slower without: the detectors that need no schema, the MinHash search over all texts
at once, polars' Delta writer. *cached* keeps one validator a tool (the `ingest` row), *naive* checks each schema again with every
call, *bare* is cached without pseudonyms, detectors and failures. Arms are interleaved, medians of three.
"""

import hashlib
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import polars as pl

from flywheel.bench_row import row
from flywheel.detectors import ALWAYS
from flywheel.detectors.find import find
from flywheel.detectors.finding import Finding, Rules, Run, Toolbox
from flywheel.detectors.schemas import invalid_calls
from flywheel.failures.triage import failure_row
from flywheel.failures.week import failures_frame, triage_week
from flywheel.lake import Lake
from flywheel.operations.bench_traces import WEEK, tools, write_traces
from flywheel.parallel import IN_THIS_PROCESS, Workers
from flywheel.partitions import week_bounds, week_of
from flywheel.privacy.redaction import KINDS, Policy
from flywheel.privacy.vault import Vault
from flywheel.similarity.minhash import bands
from flywheel.similarity.near_duplicates import banded_groups
from flywheel.toolcalls.results import is_error_text
from flywheel.traces.inbox import read_inbox, survey
from flywheel.traces.records import Inbox
from flywheel.traces.trace import toolset, trace_id_of

# As many for both that what a run costs once does not count.
TRACES, PLAIN_TRACES, NAIVE_TRACES, REPEATS = 40_000, 12_000, 300, 3


class Week(NamedTuple):
    """What a way of reading a week found: PRODUCTION_FAILURES rows, and trace_id with near_duplicate_group."""

    failures: pl.DataFrame
    groups: pl.DataFrame


def whole_week(
    folder: Path,
    root: Path,
    kinds: tuple[str, ...],
    *,
    vault: Path | None = None,
    shards: int = 1,
    workers: Workers = IN_THIS_PROCESS,
) -> Week:
    """Our way; `kinds` are redacted. With one `vault` for several weeks, persons have the same pseudonyms in all."""
    shutil.rmtree(root, ignore_errors=True)
    lake, inbox, offered = Lake(root / "lake"), Inbox(str(folder)), tools()
    found = survey(inbox, week=WEEK, ledger=lake.empty("inbox_ledger"))
    with read_inbox(
        inbox, found, week=WEEK, week_start=lambda week: week_bounds(week)[0], workflow="bench", policy=Policy(kinds=kinds),
        vault=vault or root / "vault", scratch=root / "lake" / "_staging", tools=toolset(offered), shards=shards, workers=workers,
    ) as reading:  # fmt: skip
        lake.replace_partition("production_traces", reading.files, workflow="bench", week=WEEK)
        lake.replace_partition("near_duplicates", reading.near_duplicates, workflow="bench", week=WEEK)
    kept = toolset(offered)
    triaged = triage_week(
        lake,
        workflow="bench",
        week=WEEK,
        toolsets={kept.sha256: kept.text},
        rules=Rules(tuple(offered)),
        workers=workers,
    )
    failures = triaged.failures
    lake.replace_partition("production_failures", failures, workflow="bench", week=WEEK)
    return Week(failures, reading.near_duplicates.select("trace_id", "near_duplicate_group"))


# Tool and arguments as the model wrote them -> why the call is invalid, or None.
Judge = Callable[[str, str], str | None]


def cached_judge() -> Judge:
    """`jsonschema` with one validator a tool."""
    validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in _schemas().items()}

    def judge(name: str, arguments: str) -> str | None:
        try:
            error = next(validators[name].iter_errors(json.loads(arguments)), None)
        except ValueError as refused:
            return str(refused)
        return error.message if error else None

    return judge


def naive_judge() -> Judge:
    """`jsonschema.validate`, which checks the schema, too, every time."""
    schemas = _schemas()

    def judge(name: str, arguments: str) -> str | None:
        try:
            jsonschema.validate(json.loads(arguments), schemas[name])
        except (ValueError, jsonschema.ValidationError) as refused:
            return str(refused)
        return None

    return judge


def _schemas() -> dict[str, dict[str, Any]]:
    return {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools()}


def plain_week(file: Path, root: Path, count: int, judge: Judge) -> Week:
    """The plain way: parse, hash, validate each call, detect, drop what was sent twice, group near-duplicates, write."""
    offered, vault = tools(), Vault(root / "vault")
    rules = Rules(tuple(offered))
    box = Toolbox(offered, rules)

    def refused_calls(run: Run) -> Iterator[Finding]:
        for call in run.own_calls:
            if (error := judge(call.name, call.arguments)) is not None:
                yield Finding(call.index, "schema_violation", "refused", "agent", call.name, "refused", error, True)

    always = [refused_calls, *(one for one in ALWAYS if one is not invalid_calls)]
    rows: dict[str, dict[str, Any]] = {}
    failures = []
    for trace in _parsed(file, count):
        row = {**_plain_row(trace), "principal_ref": vault.principal_ref(trace["principal"])}
        if row["trace_id"] in rows:
            continue
        rows[row["trace_id"]] = row
        run = Run(row, box, rules)
        if findings := find(run, always):
            failures.append(failure_row(row, run, findings))
    return _written(root, list(rows.values()), failures_frame(failures))


def bare_week(file: Path, root: Path, count: int, judge: Judge) -> Week:
    """The plain way without pseudonyms, detectors and failures: calls are only judged."""
    rows = []
    for trace in _parsed(file, count):
        calls = [call["function"] for message in trace["messages"] for call in message.get("tool_calls") or []]
        rows.append({**_plain_row(trace), "invalid": sum(judge(c["name"], c["arguments"]) is not None for c in calls)})
    return _written(root, rows, failures_frame([]))


def _parsed(file: Path, count: int) -> Iterator[dict[str, Any]]:
    with file.open() as lines:
        yield from (json.loads(line) for line in islice(lines, count))


def _plain_row(trace: dict[str, Any]) -> dict[str, Any]:
    """A record as a row of the columns that triage and people need."""
    messages = trace["messages"]
    text = json.dumps(messages, ensure_ascii=False)
    request = "\n".join(message["content"] for message in messages if message["role"] == "user")
    started = datetime.fromisoformat(trace["started_at"])
    known = (
        "id",
        "started_at",
        "client_id",
        "conversation_id",
        "principal",
        "model",
        "adapter_id",
        "messages",
        "usage",
    )
    return {
        "trace_id": trace_id_of(trace["client_id"], trace["id"]),
        "source_system": trace["client_id"],
        "source_id": trace["id"],
        "content_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "conversation_id": trace["conversation_id"],
        "request_model": trace["model"],
        "adapter_id": trace["adapter_id"],
        "started_at": started,
        "week": week_of(started),
        "input_tokens": trace["usage"]["prompt_tokens"],
        "output_tokens": trace["usage"]["completion_tokens"],
        "messages": text,
        "assistant_steps": sum(message["role"] == "assistant" for message in messages),
        "tool_calls": sum(len(message.get("tool_calls") or ()) for message in messages),
        "tool_errors": sum(message["role"] == "tool" and is_error_text(message["content"]) for message in messages),
        "outcome_status": "unknown",
        "reward": None,
        "feedback_score": None,
        "metadata": json.dumps({key: value for key, value in trace.items() if key not in known}),
        "request": request,
        "request_digest": hashlib.sha256(request.encode()).digest(),
    }


def _written(root: Path, rows: list[dict[str, Any]], failures: pl.DataFrame) -> Week:
    frame = pl.DataFrame(rows, schema_overrides={"reward": pl.Float64, "feedback_score": pl.Float64})
    texts = dict(zip(frame["trace_id"], frame["request"], strict=True))
    groups = banded_groups(
        frame.with_columns(bands(frame["request"]).alias("bands")), lambda ids: {key: texts[key] for key in ids}
    )
    for name, table in (("traces", frame.drop("request")), ("near_duplicates", groups), ("failures", failures)):
        shutil.rmtree(root / name, ignore_errors=True)
        table.write_delta(str(root / name))
    return Week(failures, groups)


def _seconds(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def measure() -> list[dict[str, Any]]:
    """All rows of the table."""
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as name:
        folder, root = Path(name) / "inbox", Path(name) / "work"
        folder.mkdir()
        file = folder / "traces.jsonl"
        size = write_traces(file, TRACES)
        print(f"{TRACES:,} traces of {size / TRACES:,.0f} bytes", file=sys.stderr)
        arms: dict[str, tuple[Callable[[], Any], int]] = {
            "ours": (lambda: whole_week(folder, root, ()), TRACES),
            "redacted": (lambda: whole_week(folder, root, KINDS), TRACES),
            "cached": (lambda: plain_week(file, root / "plain", PLAIN_TRACES, cached_judge()), PLAIN_TRACES),
            "bare": (lambda: bare_week(file, root / "plain", PLAIN_TRACES, cached_judge()), PLAIN_TRACES),
            "naive": (lambda: plain_week(file, root / "plain", NAIVE_TRACES, naive_judge()), NAIVE_TRACES),
        }
        rates: dict[str, list[float]] = {arm: [] for arm in arms}
        for turn in range(REPEATS):
            for arm, (work, count) in arms.items():
                rates[arm].append(count / _seconds(work))
                print(f"turn {turn + 1}, {arm}: {rates[arm][-1]:,.0f} traces/s", file=sys.stderr)
    rate = {arm: statistics.median(values) for arm, values in rates.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        row("ingest", rate["ours"], "traces/s/core", baseline=rate["cached"], target=4.0),
        row("ingest_against_bare", rate["ours"], "traces/s/core", baseline=rate["bare"], target=1.0),
        row("ingest_against_naive", rate["ours"], "traces/s/core", baseline=rate["naive"], target=4.0),
        row("ingest_rate", rate["ours"], "traces/s/core", target=15_000.0),
        row("ingest_redacted", rate["redacted"], "traces/s/core", target=5_000.0),
        {"name": "ingest_memory", "value": peak, "unit": "MB", "baseline": None, "ratio": None, "target": 1500.0, "ok": peak < 1500},
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure()))
