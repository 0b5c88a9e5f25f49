"""`make bench`: what the project answers for, measured as ratios in one run, kept in bench.json.

A row is {name, value, unit, baseline, ratio, target, ok}: `value` is ours, `baseline` the comparison in the same unit and the
same run, `ratio` how many times better ours is; `target` is what the ratio (or, without a baseline, the value) must reach.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import flywheel.demo
from flywheel.errors import FlywheelError
from flywheel.parallel import ONE_THREAD
from flywheel.settings import Settings
from flywheel.workflows.base_model import find_base_model

Row = dict[str, Any]
SUPPORT_DESK = Path(flywheel.demo.__file__).parent / "support_desk"


def run_benchmarks(settings: Settings) -> bool:
    """Run all, print the table, write bench.json; whether every target was met."""
    rows = [
        definitions_import(),
        *ingest(),
        *shards(),
        *datasets(),
        *training(settings),
        *evaluation(settings),
        *overhead(),
    ]
    table = Table(title="make bench")
    for name in ("name", "value", "unit", "baseline", "ratio", "target", "ok"):
        table.add_column(name, justify="left" if name in ("name", "unit") else "right")
    for row in rows:
        table.add_row(*(_shown(row[name]) for name in ("name", "value", "unit", "baseline", "ratio", "target", "ok")))
    Console(highlight=False).print(table)
    file = settings.home / "bench.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return all(row["ok"] for row in rows)


def definitions_import() -> Row:
    """Seconds a fresh interpreter needs to import the code location: median of five."""
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "import flywheel.definitions"], check=True)
        seconds.append(time.monotonic() - started)
    value = statistics.median(seconds)
    return {
        "name": "definitions_import",
        "value": value,
        "unit": "s",
        "baseline": None,
        "ratio": None,
        "target": 4.0,
        "ok": value < 4.0,
    }


def ingest() -> list[Row]:
    """Traces a second and core from file to failure table, beside the same loop in plain Python; from a child on one thread."""
    command = [sys.executable, "-m", "flywheel.operations.bench_ingest"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    if ended.returncode:
        raise FlywheelError("the ingest benchmark failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def shards() -> list[Row]:
    """A million traces by a pool of two processes beside one process, each on one thread, from a child."""
    command = [sys.executable, "-m", "flywheel.operations.bench_shards"]
    environment = {**os.environ, **ONE_THREAD}
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=environment)
    if ended.returncode:
        raise FlywheelError("the benchmark of shards failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def datasets() -> list[Row]:
    """Near-duplicate search and a year's growth, from a child on one thread."""
    command = [sys.executable, "-m", "flywheel.operations.bench_datasets"]
    ended = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, text=True, env={**os.environ, "POLARS_MAX_THREADS": "1"}
    )
    if ended.returncode:
        raise FlywheelError("the datasets benchmark failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def training(settings: Settings) -> list[Row]:
    """The measurements that need torch, from a child process on the base model in the cache."""
    try:
        base = find_base_model(settings.models(), "smollm2-135m-instruct")
    except FlywheelError as error:
        raise FlywheelError(
            "the training benchmark needs the real base model", where=error.where, remedy=error.remedy
        ) from None
    command = [sys.executable, "-m", "flywheel.training.bench", str(base.folder), "../shared/data/tau-airline"]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise FlywheelError("the training benchmark failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def evaluation(settings: Settings) -> list[Row]:
    """Served evaluation beside vLLM offline and transformers, from a child, on the shipped pack's step cases."""
    base = find_base_model(settings.models(), "smollm2-135m-instruct")
    command = [sys.executable, "-m", "flywheel.evaluation.bench", str(base.folder), str(SUPPORT_DESK)]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise FlywheelError("the evaluation benchmark failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def overhead() -> list[Row]:
    """What orchestration costs a week, and an unchanged week from the command line to its end; on a lap, from a child."""
    command = [sys.executable, "-m", "flywheel.operations.bench_overhead"]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise FlywheelError("the overhead benchmark failed", remedy=f"run it by hand: {' '.join(command[1:])}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def _shown(value: Any) -> str:
    return (
        ""
        if value is None
        else f"{value:,.3g}"
        if isinstance(value, float)
        else ("yes" if value else "NO")
        if isinstance(value, bool)
        else str(value)
    )
