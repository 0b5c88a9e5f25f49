"""Erasure of promoted cases: the case leaves the pack and the table, and a tombstone says that the benchmark is another one since.

A frozen case never changes, but a person's right outranks it (design.md 8.8). The tombstone holds hashes, the versions before and after
and the reason, nothing of the case. Cases made of other people's runs stay and forget the names: the person's conversation among those
of their near-duplicate group, and the person's run where it gave the cluster its name.
"""

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.benchmark.cases import benchmark_version
from flywheel.benchmark.drafts import FOLDER
from flywheel.benchmark.freeze import active
from flywheel.lake import Lake
from flywheel.lake.scrub import scrub
from flywheel.toolcalls.arguments import canonical_json, sha256_of, whole_lines


class Forgotten(NamedTuple):
    """Cases that came from a person's runs: their ids and content hashes, the benchmark's version before, lines taken out of the pack."""

    case_ids: list[str]
    contents: list[str]
    version_before: str
    lines: int


def find_cases(lake: Lake, workflow: str, folder: Path, trace_ids: Collection[str], tools_sha256: str) -> Forgotten:
    """The cases promoted from some runs: frozen ones, those in the pack's `benchmark/*.jsonl`, and their drafts. Nothing is changed."""
    frozen = lake.read_weeks("benchmark", workflow=workflow)
    gone = frozen.filter(pl.col("origin_trace_id").is_in(sorted(trace_ids)))
    named = [case_id for file in sorted(folder.glob("*.jsonl")) for _, case_id in _origins(_lines(file), trace_ids)]
    drafts = _drafts_of(folder, trace_ids)
    ids = {*gone["case_id"], *named, *(draft.stem for draft in drafts)}
    version = benchmark_version(active(frozen), tools_sha256)
    return Forgotten(sorted(ids), sorted(gone["content_sha256"]), version, len(named) + len(drafts))


def forget_cases(lake: Lake, workflow: str, folder: Path, trace_ids: Collection[str], tools_sha256: str) -> Forgotten:
    """Find the cases promoted from some runs, and take their lines out of the pack, and their drafts: a freeze would bring them back.

    The table's rows are removed with all other rows of the person; `bury` then writes the tombstones.
    """
    found = find_cases(lake, workflow, folder, trace_ids, tools_sha256)
    for file in sorted(folder.glob("*.jsonl")):
        text = _lines(file)
        theirs = {number for number, _ in _origins(text, trace_ids)}
        if theirs:
            _rewrite(file, [line for n, line in enumerate(text) if n not in theirs])
    for draft in _drafts_of(folder, trace_ids):
        draft.unlink()
    return found


def forget_names(
    lake: Lake, workflow: str, folder: Path, trace_ids: Collection[str], conversations: Collection[str]
) -> int:
    """Take a person's conversations and run ids out of the cases of others, in the pack and in the table; the number of cases changed.

    What such a case asks and expects stays as it was frozen; only its content hash is a new one. Call it before the person's runs are
    removed: afterwards nobody knows their conversations any more.
    """
    changed: set[str] = set()
    for file in sorted(folder.glob("*.jsonl")):
        text = _lines(file)
        anew = [_line_without(line, trace_ids, conversations) for line in text]
        if anew != text:
            changed |= {json.loads(new)["id"] for old, new in zip(text, anew, strict=True) if old != new}
            _rewrite(file, anew)
    frozen = lake.read_weeks("benchmark", workflow=workflow).drop("workflow")
    rows = [_row_without(row, trace_ids, conversations) for row in frozen.iter_rows(named=True)]
    named = pl.DataFrame(rows, schema=frozen.schema, orient="row")
    if not named.equals(frozen):
        changed |= set(named.filter(named["content_sha256"] != frozen["content_sha256"])["case_id"])
        lake.replace_partition("benchmark", named, workflow=workflow, code_version="erased")
        for table in ("benchmark", "lineage"):
            scrub(lake.uri(table))
    _drafts_without(lake, workflow, folder, conversations)
    return len(changed)


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


def _lines(file: Path) -> list[str]:
    return whole_lines(file.read_text(encoding="utf-8"))


def _drafts_of(folder: Path, trace_ids: Collection[str]) -> list[Path]:
    """Drafts made of the runs, by their text: one that a person broke while editing it still holds what it was made of."""
    return [
        draft for draft in sorted((folder / FOLDER).glob("*.yaml"))
        if any(trace_id in draft.read_text(encoding="utf-8", errors="replace") for trace_id in trace_ids)
    ]  # fmt: skip


def _origins(lines: list[str], trace_ids: Collection[str]) -> Iterator[tuple[int, str]]:
    """(line, case id) of the cases that say they come from one of the runs; lines that cannot be read are left to the loader."""
    for number, line in enumerate(lines):
        try:
            case = json.loads(line)
            if case["origin"]["trace_id"] in trace_ids:
                yield number, str(case["id"])
        except (ValueError, KeyError, TypeError):
            continue


def _without(case: dict[str, Any], trace_ids: Collection[str], conversations: Collection[str]) -> dict[str, Any]:
    """A case without the names; the case itself when it has none of them. A case of the person's own run is `forget_cases`' affair."""
    origin = case.get("origin")
    if not origin or origin["trace_id"] in trace_ids:
        return case
    cluster = case["cluster"]
    for one in trace_ids:
        cluster = cluster.replace(
            one, f"erased-{sha256_of(['erased', one])[:8]}"
        )  # still one cluster, whoever is in it
    kept = [one for one in origin["conversations"] if one not in conversations]
    return {**case, "cluster": cluster, "origin": {**origin, "conversations": kept}}


def _line_without(line: str, trace_ids: Collection[str], conversations: Collection[str]) -> str:
    """A line of the pack without the names; one that cannot be read is left to the loader."""
    try:
        case = json.loads(line)
        anew = _without(case, trace_ids, conversations)
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    return line if anew == case else canonical_json(anew) + "\n"


def _row_without(row: dict[str, Any], trace_ids: Collection[str], conversations: Collection[str]) -> dict[str, Any]:
    case = json.loads(row["case"])
    anew = _without(case, trace_ids, conversations)
    if anew == case:
        return row
    marks = [one for one in json.loads(row["conversations"]) if one not in conversations]
    return {**row, "case_cluster": anew["cluster"], "content_sha256": sha256_of(anew), "case": canonical_json(anew),
            "conversations": json.dumps(marks)}  # fmt: skip


def _drafts_without(lake: Lake, workflow: str, folder: Path, conversations: Collection[str]) -> None:
    """Drafts of other people's runs, and their marks, forget the conversations."""
    for draft in sorted((folder / FOLDER).glob("*.yaml")):
        text = anew = draft.read_text(encoding="utf-8", errors="replace")
        for one in conversations:
            anew = anew.replace(json.dumps(one), '"erased"')
        if anew != text:
            _rewrite(draft, [anew])
    marks = lake.read_weeks("benchmark_drafts", workflow=workflow).drop("workflow")
    kept = [
        json.dumps([one for one in json.loads(text) if one not in conversations]) for text in marks["conversations"]
    ]
    if kept != marks["conversations"].to_list():
        named = marks.with_columns(conversations=pl.Series(kept, dtype=pl.String))
        lake.replace_partition("benchmark_drafts", named, workflow=workflow, code_version="erased")
        for table in ("benchmark_drafts", "lineage"):
            scrub(lake.uri(table))


def _rewrite(file: Path, lines: list[str]) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(file)
