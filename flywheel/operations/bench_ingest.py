"""The `ingest` rows of `make bench`: one week from its files to its failure table, in CPU seconds of one thread.

Ours: read, adapt, hash, pseudonyms, near-duplicate groups, Delta write, then triage with every detector, failures written. The
comparison loops do the same a trace at a time with `json` and `jsonschema`, and share our detectors and near-duplicate search, which
are not what is compared; they keep no account. *cached* keeps one validator a tool, *naive* checks each schema again with every call;
*bare* is cached without pseudonyms and detectors. Arms are interleaved, medians of three.
"""

import hashlib
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl

from flywheel.failures.detectors import ALWAYS, ON_ERRORS
from flywheel.failures.detectors.schemas import invalid_calls
from flywheel.failures.finding import Rules, Run, Toolbox
from flywheel.failures.week import triage_week
from flywheel.lake import TABLES, Lake
from flywheel.operations.bench_traces import WEEK, tools, write_traces
from flywheel.partitions import week_bounds
from flywheel.privacy.redaction import KINDS, Policy
from flywheel.privacy.vault import Vault
from flywheel.similarity.minhash import bands
from flywheel.similarity.near_duplicates import banded_groups
from flywheel.traces.inbox import read_inbox, survey
from flywheel.traces.records import Inbox
from flywheel.traces.trace import toolset

TRACES, PLAIN_TRACES, NAIVE_TRACES, REPEATS = 40_000, 4_000, 300, 3


def whole_week(folder: Path, root: Path, kinds: tuple[str, ...]) -> int:
    """Our way; returns the number of failures."""
    shutil.rmtree(root, ignore_errors=True)
    lake, inbox, offered = Lake(root / "lake"), Inbox(str(folder)), tools()
    found = survey(inbox, week=WEEK, ledger=lake.empty("inbox_ledger"))
    with read_inbox(
        inbox, found, week=WEEK, week_start=lambda week: week_bounds(week)[0], workflow="bench", policy=Policy(kinds=kinds),
        vault=root / "vault", scratch=root / "lake" / "_staging", tools=toolset(offered),
    ) as reading:  # fmt: skip
        lake.replace_partition("production_traces", reading.files, workflow="bench", week=WEEK)
        lake.replace_partition("near_duplicates", reading.near_duplicates, workflow="bench", week=WEEK)
    kept = toolset(offered)
    triaged = triage_week(
        lake,
        workflow="bench",
        week=WEEK,
        shards=1,
        workers=1,
        toolsets={kept.sha256: kept.text},
        rules=Rules(tuple(offered)),
    )
    schema = {
        name: dtype
        for name, dtype in TABLES["production_failures"].polars_schema().items()
        if name not in ("week", "workflow")
    }
    frame = pl.DataFrame(triaged.failures, schema=schema, orient="row")  # type: ignore[arg-type]
    lake.replace_partition("production_failures", frame, workflow="bench", week=WEEK)
    return frame.height


def plain_loop(file: Path, root: Path, count: int, *, cached: bool, bare: bool = False) -> int:
    """The plain way: parse, validate each call, detect, exact and near duplicates, write; returns the number of failures."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    offered = tools()
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in offered}
    validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas.items()}
    rules, vault = Rules(tuple(offered)), Vault(root / "vault")
    box, detectors = Toolbox(offered, rules), [one for one in ALWAYS if one is not invalid_calls]
    rows, failures = [], 0
    with file.open() as lines:
        for _, line in zip(range(count), lines, strict=False):
            trace = json.loads(line)
            invalid = 0
            for message in trace["messages"]:
                for call in message.get("tool_calls") or []:
                    name = call["function"]["name"]
                    try:
                        arguments = json.loads(call["function"]["arguments"])
                        if cached:
                            invalid += next(validators[name].iter_errors(arguments), None) is not None
                        else:
                            jsonschema.validate(arguments, schemas[name])
                    except (ValueError, jsonschema.ValidationError):
                        invalid += 1
            request = next(message["content"] for message in trace["messages"] if message["role"] == "user")
            row = {"trace_id": trace["id"], "started_at": trace["started_at"], "messages": json.dumps(trace["messages"]),
                   "request": request, "request_digest": hashlib.sha256(request.encode()).hexdigest(), **_UNLABELLED}  # fmt: skip
            if not bare:
                row["principal_ref"] = vault.principal_ref(trace["principal"])
                run = Run(row, box, rules)
                active = (*detectors, *(ON_ERRORS if run.failed_calls else ()))
                invalid += sum(1 for detector in active for _ in detector(run))
            failures += invalid > 0
            rows.append(row)
    frame = pl.DataFrame(rows, schema_overrides={"reward": pl.Float64, "feedback_score": pl.Float64})
    texts = dict(zip(frame["trace_id"], frame["request"], strict=True))
    banded_groups(
        frame.with_columns(bands(frame["request"]).alias("bands")), lambda ids: {key: texts[key] for key in ids}
    )
    frame.write_delta(str(root / "traces"))
    return failures


_UNLABELLED = {"outcome_status": "unknown", "reward": None, "feedback_score": None, "metadata": "{}"}


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
            "cached": (lambda: plain_loop(file, root, PLAIN_TRACES, cached=True), PLAIN_TRACES),
            "bare": (lambda: plain_loop(file, root, PLAIN_TRACES, cached=True, bare=True), PLAIN_TRACES),
            "naive": (lambda: plain_loop(file, root, NAIVE_TRACES, cached=False), NAIVE_TRACES),
        }
        rates: dict[str, list[float]] = {arm: [] for arm in arms}
        for turn in range(REPEATS):
            for arm, (work, count) in arms.items():
                rates[arm].append(count / _seconds(work))
                print(f"turn {turn + 1}, {arm}: {rates[arm][-1]:,.0f} traces/s", file=sys.stderr)
    rate = {arm: statistics.median(values) for arm, values in rates.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        _row("ingest", rate["ours"], "traces/s/core", rate["cached"], 4.0),
        _row("ingest_against_bare", rate["ours"], "traces/s/core", rate["bare"], 1.0),
        _row("ingest_against_naive", rate["ours"], "traces/s/core", rate["naive"], 4.0),
        _row("ingest_rate", rate["ours"], "traces/s/core", None, 15_000.0),
        _row("ingest_redacted", rate["redacted"], "traces/s/core", None, 5_000.0),
        {"name": "ingest_memory", "value": peak, "unit": "MB", "baseline": None, "ratio": None, "target": 1500.0, "ok": peak < 1500},
    ]  # fmt: skip


def _row(name: str, value: float, unit: str, baseline: float | None, target: float) -> dict[str, Any]:
    ratio = value / baseline if baseline else None
    reached = value if ratio is None else ratio
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "baseline": baseline,
        "ratio": ratio,
        "target": target,
        "ok": reached >= target,
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
