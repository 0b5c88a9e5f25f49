"""A week that was evaluated, written into a lake: EVAL_RESULTS rows of the door pack without a server."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import yaml

from flywheel.benchmark.cases import Case, load_cases
from flywheel.benchmark.freeze import frozen_row
from flywheel.benchmark.row_digest import DIGEST, row_sha256
from flywheel.evaluation.review_sheet import Rating
from flywheel.lake import TABLES, Lake
from flywheel.workflows.loader import load_pack
from flywheel.workflows.pack import Pack

WEEK = "2026-01-05"


def door_pack(home: Path, **evaluation) -> Pack:
    """A copy of the door pack under `home`, with other evaluation settings."""
    folder = home / "workflows" / "door"
    shutil.copytree(Path(os.environ["FLYWHEEL_HOME"]) / "workflows" / "door", folder)
    settings = yaml.safe_load((folder / "workflow.yaml").read_text())
    settings["evaluation"] |= evaluation
    (folder / "workflow.yaml").write_text(yaml.safe_dump(settings))
    return load_pack(folder)


def result(case: Case, arm: str, success: bool | None, wrote: str, candidate: str = "new-adapter") -> dict:
    """One EVAL_RESULTS row without the partition; columns that nobody here reads are null."""
    empty = {name: None for name in TABLES["eval_results"].polars_schema() if name not in ("week", "workflow")}
    row = {
        **empty, "case_id": case.id, "case_cluster": case.cluster, "category": case.category, "arm": arm, "epoch": 0,
        "adapter_id": candidate if arm == "candidate" else "base", "success": success, "failure_reason": None if success else "wrong",
        "transcript": json.dumps([*case.messages, {"role": "assistant", "content": wrote}]), "raw_outputs": "[]",
        "schema_valid_calls": 1, "calls": 1, "forbidden_calls": 0, "benchmark_version": "b", "scorer_version": "1", "decoding": "greedy_auto",
    }  # fmt: skip
    return {**row, DIGEST: row_sha256(row)}


def evaluated(lake: Lake, pack: Pack, week: str = WEEK, candidate: str = "new-adapter") -> list[Case]:
    """Freeze the benchmark and write a week in which the candidate solves every case and the incumbent every third."""
    cases = load_cases(pack.folder / "benchmark", pack.tools)
    lake.replace_partition("benchmark", [frozen_row(case, pack.tools_sha256) for case in cases], workflow=pack.name)
    rows = []
    for number, case in enumerate(cases):
        rows.append(result(case, "candidate", True, f"candidate {case.id}", candidate))
        old = number % 3 == 0
        rows.append(result(case, "incumbent", old, f"{'candidate' if old else 'incumbent'} {case.id}"))
        rows.append(result(case, "incumbent_again", old, "again"))
    lake.replace_partition("eval_results", rows, workflow=pack.name, week=week)
    return cases


def ratings_of(sample: pl.DataFrame, *, wrong: int = 0) -> list[Rating]:
    """A person who says what the program says, but for the first `wrong` outputs."""
    return [
        Rating(
            workflow="door", week=WEEK, output_id=row["output_id"], case_id=row["case_id"], epoch=row["epoch"],
            verdict="pass" if row["success"] != (number < wrong) else "fail",
        )
        for number, row in enumerate(sample.iter_rows(named=True))
    ]  # fmt: skip
