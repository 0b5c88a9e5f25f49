"""Erasure of promoted cases: the case leaves the pack and the table, and a tombstone says that the benchmark is another one since.

A frozen case never changes, but a person's right outranks it (design.md 8.8). The tombstone holds hashes, the versions before and after
and the reason, nothing of the case.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.freeze import active
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import sha256_of


class Forgotten(NamedTuple):
    """Cases that came from a person's runs: their ids and content hashes, the benchmark's version before, lines taken out of the pack."""

    case_ids: list[str]
    contents: list[str]
    version_before: str
    lines: int


def forget_cases(lake: Lake, workflow: str, folder: Path, trace_ids: Collection[str], tools_sha256: str) -> Forgotten:
    """Find the cases promoted from some runs, and take their lines out of the pack's `benchmark/*.jsonl`: a freeze would bring them back.

    The table's rows are removed with all other rows of the person; `bury` then writes the tombstones.
    """
    frozen = lake.read_weeks("benchmark", workflow=workflow)
    gone = frozen.filter(pl.col("origin_trace_id").is_in(sorted(trace_ids)))
    lines, ids = 0, set(gone["case_id"])
    for file in sorted(folder.glob("*.jsonl")):
        text = file.read_text(encoding="utf-8").splitlines(keepends=True)
        theirs = {number: case_id for number, case_id in _origins(text, trace_ids)}
        if theirs:
            partial = file.with_name(f"{file.name}.partial")
            partial.write_text("".join(line for n, line in enumerate(text) if n not in theirs), encoding="utf-8")
            partial.replace(file)
            lines, ids = lines + len(theirs), ids | set(theirs.values())
    return Forgotten(
        sorted(ids), sorted(gone["content_sha256"]), benchmark_version(active(frozen), tools_sha256), lines
    )


def bury(
    lake: Lake, workflow: str, forgotten: Forgotten, tools_sha256: str, *, reason: str, at: datetime
) -> str | None:
    """Write a tombstone for each case that was frozen; the version of the benchmark that is left, or None when none was."""
    if not forgotten.contents:
        return None
    after = benchmark_version(active(lake.read_weeks("benchmark", workflow=workflow)), tools_sha256)
    rows = [
        {"tombstone_id": sha256_of(["erased", content])[:16], "content_sha256": content, "version_before": forgotten.version_before,
         "version_after": after, "reason": reason, "erased_at": at}
        for content in forgotten.contents
    ]  # fmt: skip
    lake.append_new("benchmark_tombstones", rows, workflow=workflow)
    return after


def _origins(lines: list[str], trace_ids: Collection[str]) -> Iterator[tuple[int, str]]:
    """(line, case id) of the cases that say they come from one of the runs; lines that cannot be read are left to the loader."""
    for number, line in enumerate(lines):
        try:
            case = json.loads(line)
            if case["origin"]["trace_id"] in trace_ids:
                yield number, str(case["id"])
        except (ValueError, KeyError, TypeError):
            continue
