"""The `spawn_pool` row of `make bench`: a week from its files to its failure table, by two processes and by one.

    POLARS_MAX_THREADS=1 python -m flywheel.operations.bench_shards [TRACES]

Value and baseline are traces a second of wall time, with polars on one thread in every process, so the ratio is what the second process
gives. It can be 1.5 on a machine with two free cores only, and at a size that makes up for starting them. Both ways must have written
equal content hashes. The measurement needs 4 kB of disk a trace.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flywheel.bench_row import row
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.operations.bench_ingest import whole_week
from flywheel.operations.bench_traces import WEEK, write_traces
from flywheel.parallel import IN_THIS_PROCESS, ONE_THREAD, Workers

TRACES, SHARDS, TARGET = 1_000_000, 8, 1.5
TABLES = ("production_traces", "near_duplicates", "production_failures")


def measure(count: int = TRACES) -> dict[str, Any]:
    """The row for so many traces in one file; raises FlywheelError when the two ways wrote different tables."""
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        raise FlywheelError("polars has all cores in this process", where="POLARS_MAX_THREADS", remedy="set it to 1")
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as name:
        folder = Path(name)
        (folder / "inbox").mkdir()
        size = write_traces(folder / "inbox" / "traces.jsonl", count)
        print(f"{count:,} traces of {size / count:,.0f} bytes", file=sys.stderr)
        seconds, hashes = {}, {}
        for arm, workers in (("serial", IN_THIS_PROCESS), ("spawn", Workers(2, "spawn"))):
            started, before = time.monotonic(), os.times()
            whole_week(folder / "inbox", folder / "work", (), vault=folder / "vault", shards=SHARDS, workers=workers)
            seconds[arm], after = time.monotonic() - started, os.times()
            hashes[arm] = content(folder / "work" / "lake")
            here, there = (sum(after[kind : kind + 2]) - sum(before[kind : kind + 2]) for kind in (0, 2))
            print(f"{arm}: {seconds[arm]:.1f} s; {here:.1f} CPU s here, {there:.1f} in workers", file=sys.stderr)
    if hashes["serial"] != hashes["spawn"]:
        raise FlywheelError("a pool of two wrote other tables than one process", where=str(hashes),
                            remedy="this is a defect: the rows of a week must not depend on who reads them")  # fmt: skip
    return row("spawn_pool", count / seconds["spawn"], "traces/s", baseline=count / seconds["serial"], target=TARGET)


def content(lake: Path) -> list[str]:
    """Content hashes of the week's tables."""
    found = [Lake(lake).lineage(table, workflow="bench", week=WEEK) for table in TABLES]
    return [lineage.content_sha256 for lineage in found if lineage is not None]


if __name__ == "__main__":
    print(json.dumps([measure(*map(int, sys.argv[1:2]))]))
