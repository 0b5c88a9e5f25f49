"""Freezing: a case that entered the benchmark keeps its bytes for ever."""

import json
from collections.abc import Iterable
from typing import Any

import polars as pl

from flywheel.benchmark.cases import Case, benchmark_version, case_content
from flywheel.benchmark.fingerprints import FINGERPRINT_VERSION, fingerprints
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of


def frozen_row(case: Case, tools_sha256: str, vocabulary: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A case with its fingerprints as a BENCHMARK row without partition columns.

    `vocabulary` are the words of the tools (`fingerprints.tool_vocabulary`).
    """
    content = case_content(case)
    return {
        "case_id": case.id,
        "case_cluster": case.cluster,
        "category": case.category,
        "content_sha256": sha256_of(content),
        "tools_sha256": tools_sha256,
        "case": canonical_json(content),
        "tags": canonical_json(case.tags),
        "origin_trace_id": case.origin.trace_id if case.origin else None,
        "retired": False,
        **{name: value for name, value in fingerprints(case, vocabulary).items() if name != "case_id"},
    }


def frozen_and_retired(
    frozen: pl.DataFrame, rows: list[dict[str, Any]], vocabulary: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """The whole table after a freeze: every case ever frozen, byte for byte, and the new ones.

    A case that the pack no longer lists is retired: it is not evaluated any more, and its fingerprints bar training for ever. Marks of
    an older fingerprint version are computed anew from the case; the search compares marks of one version only. Tags are the pack's
    of today: they are no part of what is frozen.
    """
    frozen = _marked_anew(frozen, vocabulary)
    known, listed = set(frozen["case_id"]), {row["case_id"]: row for row in rows}
    added = [row for row in rows if row["case_id"] not in known]
    schema = {name: kind for name, kind in frozen.schema.items() if name != "workflow"}
    fresh = pl.DataFrame(added, schema=schema, orient="row") if added else pl.DataFrame(schema=schema)
    whole = pl.concat([frozen.select(list(schema)), fresh])
    tags = pl.col("case_id").replace_strict({key: row["tags"] for key, row in listed.items()}, default=pl.col("tags"))
    retired = ~pl.col("case_id").is_in(sorted(listed))
    return whole.with_columns(retired=retired, tags=tags if listed else pl.col("tags")).sort("case_id")


def _marked_anew(frozen: pl.DataFrame, vocabulary: frozenset[str]) -> pl.DataFrame:
    old = frozen.filter(pl.col("fingerprint_version") != FINGERPRINT_VERSION)
    if not old.height:
        return frozen
    cases = {row["case_id"]: Case.model_validate_json(row["case"]) for row in old.iter_rows(named=True)}
    anew = [{**row, **fingerprints(cases[row["case_id"]], vocabulary)} for row in old.iter_rows(named=True)]
    kept = frozen.filter(pl.col("fingerprint_version") == FINGERPRINT_VERSION)
    return pl.concat([kept, pl.DataFrame(anew, schema=frozen.schema, orient="row")])


def active(frozen: pl.DataFrame) -> list[Case]:
    """The cases that evaluate today: all of the `benchmark` table that are not retired, by id."""
    return _cases(frozen.filter(~pl.col("retired")))


def evaluated(frozen: pl.DataFrame, results: pl.DataFrame, contract_sha256: str) -> list[Case]:
    """The cases that a week's EVAL_RESULTS rows were run on, whatever was added or retired since; by id.

    Today's cases where the rows are none, or are not those of any frozen cases under these tools (`Pack.contract_sha256`).
    """
    today = active(frozen)
    if not results.height or benchmark_version(today, contract_sha256) == results["benchmark_version"][0]:
        return today
    then = _cases(frozen.filter(pl.col("case_id").is_in(results["case_id"].unique().to_list())))
    return then if benchmark_version(then, contract_sha256) == results["benchmark_version"][0] else today


def _cases(rows: pl.DataFrame) -> list[Case]:
    told = rows.sort("case_id").select("case", "tags").iter_rows()
    return [Case.model_validate({**json.loads(case), "tags": json.loads(tags or "[]")}) for case, tags in told]


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
