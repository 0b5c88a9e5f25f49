"""Freezing: a case that entered the benchmark keeps its bytes for ever."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from flywheel.benchmark.cases import Case
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of


def frozen_row(case: Case, tools_sha256: str) -> dict[str, Any]:
    """A case as a BENCHMARK row without partition columns."""
    content = case.model_dump(mode="json", exclude_none=True)
    return {
        "case_id": case.id,
        "case_cluster": case.cluster,
        "category": case.category,
        "content_sha256": sha256_of(content),
        "tools_sha256": tools_sha256,
        "case": canonical_json(content),
    }


def refuse_changed_cases(frozen: pl.DataFrame, rows: Iterable[dict[str, Any]]) -> None:
    """Raise FlywheelError when a frozen case was edited: earlier scores would silently mean something else."""
    known = dict(zip(frozen["case_id"], frozen["content_sha256"], strict=True))
    changed = [
        row["case_id"] for row in rows if known.get(row["case_id"], row["content_sha256"]) != row["content_sha256"]
    ]
    if changed:
        raise FlywheelError(
            f"{len(changed)} frozen benchmark cases were edited: {', '.join(changed[:5])}",
            where="benchmark/*.jsonl",
            remedy="restore them, and add the new wording as a case with a new id",
        )
