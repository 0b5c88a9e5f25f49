"""The inbox: files in, traces of one week out as a stream, refused records beside them, and an account of every record.

    survey (which files concern this week) -> ingest (map, in one or several processes) -> settle (duplicates, account) -> frames

The reading is a pure function of the folder and the ledger of earlier readings, so that any week can be rematerialized and gives
the same rows. A file whose bytes are known and which holds nothing of the week is not read again.
"""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake.content import content_of
from flywheel.lake.data_files import DataFile, Files
from flywheel.privacy.redaction import Policy
from flywheel.progress import report_progress
from flywheel.similarity.near_duplicates import banded_groups
from flywheel.traces.accounting import Account, settle, weeks_of
from flywheel.traces.adapters import ADAPTERS
from flywheel.traces.ingest import LONG_FILE, format_of, ingest_exchanges, ingest_runs
from flywheel.traces.records import Inbox, InboxFile, is_plain_lines
from flywheel.traces.staging import Piece, Staged, Work
from flywheel.traces.trace import NOT_LOGGED, Toolset

READER_VERSION = "1"
RANGE_BYTES = 64_000_000
NO_RUNS = pl.DataFrame(schema={"trace_id": pl.String, "week": pl.String})


class Survey(NamedTuple):
    """The files of an inbox against the ledger.

    Attributes:
        to_read: files that concern the week, with their hash and the week that first read them.
        known: ledger rows of the others, which stay as they are.
    """

    to_read: list[tuple[InboxFile, str, str]]
    known: list[dict[str, Any]]

    def fingerprint(self) -> list[list[str]]:
        """What decides the reading's result."""
        return [[file.name, digest, first] for file, digest, first in self.to_read]


@dataclass
class InboxReading:
    """What one reading found.

    Attributes:
        rows: runs of the week.
        quarantined: QUARANTINED_RECORDS rows; a refused record belongs to the week that first read its file.
        ledger: INBOX_LEDGER rows, one a file, files that were not read again included.
        toolsets: TOOLSETS rows.
        weeks: week -> runs that count, over the files read.
        near_duplicates: NEAR_DUPLICATES rows of the week.
        files: the week's rows as Parquet files, ready for the lake.
        preview: the first rows, for people.
    """

    rows: int
    quarantined: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    toolsets: list[dict[str, str]]
    weeks: dict[str, int]
    near_duplicates: pl.DataFrame
    files: Files
    preview: pl.DataFrame
    staging: Path

    def close(self) -> None:
        """Remove the staged rows."""
        shutil.rmtree(self.staging, ignore_errors=True)

    def __enter__(self) -> "InboxReading":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def survey(inbox: Inbox, *, week: str, ledger: pl.DataFrame) -> Survey:
    """Hash every file and say which concern the week: new or changed ones, and those with runs or refusals of it."""
    before = {row["source_file"]: row for row in ledger.iter_rows(named=True)}
    to_read, known = [], []
    files = inbox.files()
    total = sum(file.size for file in files)
    done = 0
    for file in files:
        digest = inbox.sha256(file)
        done += file.size
        if total > 500_000_000:
            report_progress("hashing the inbox", file.name, done // 1_000_000, total // 1_000_000)
        row = before.get(file.name)
        same = row is not None and row["file_sha256"] == digest and row["reader_version"] == READER_VERSION
        if row is not None and same and week not in weeks_of(row) and row["first_read_week"] != week:
            known.append({key: row[key] for key in row if key != "workflow"})
        else:
            to_read.append((file, digest, row["first_read_week"] if row else week))
    return Survey(to_read, known)


def read_inbox(
    inbox: Inbox,
    found: Survey,
    *,
    week: str,
    week_start: Callable[[str], Any],
    workflow: str,
    policy: Policy,
    vault: Path,
    scratch: Path,
    time_zone: str = "UTC",
    trace_format: str | None = None,
    shards: int = 1,
    workers: int = 1,
    tools: Toolset = NOT_LOGGED,
    known_elsewhere: Callable[[], pl.DataFrame] = lambda: NO_RUNS,
) -> InboxReading:
    """Read the surveyed files for one week.

    Args:
        scratch: folder for staged rows, on the lake's disk: its files become the table's.
        week_start: first moment of a week, UTC, for undated runs.
        trace_format: adapter to use instead of sniffing.
        shards: value range of the `shard` column.
        tools: the pack's tools, which runs without logged tools were offered.
        workers: processes; 1 reads in this one. The result does not depend on it.
        known_elsewhere: trace_id and week of the runs in the lake, see `accounting.settle`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix="ingest-", dir=scratch))
    try:
        formats = {file.name: trace_format or format_of(inbox, file) for file, _, _ in found.to_read}
        # Undated runs belong to the week that first read their file, which differs from file to file.
        groups: dict[str, list[Piece]] = {}
        for number, (file, _, first) in enumerate(found.to_read):
            groups.setdefault(first, []).append(Piece(number, file, formats[file.name]))
        staged: list[Staged] = []
        for first, pieces in sorted(groups.items()):
            work = Work(
                inbox.location,
                staging,
                first,
                week,
                week_start(week),
                tools,
                shards,
                time_zone,
                policy,
                vault,
                workflow,
            )
            staged += _run(inbox, work, pieces, workers)
        account = settle(staged, list(range(len(found.to_read))), week, known_elsewhere)
        return _reading(found, formats, account, staged, staging, week)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _run(inbox: Inbox, work: Work, pieces: list[Piece], workers: int) -> Iterator[Staged]:
    """All pieces, in file order; exchanges are stitched over all their files, so they are one piece of work."""
    runs = [piece for piece in pieces if hasattr(ADAPTERS[piece.format], "read")]
    calls = [piece for piece in pieces if not hasattr(ADAPTERS[piece.format], "read")]
    if calls:
        yield ingest_exchanges(work, calls)
    if workers > 1:
        runs = [part for piece in runs for part in _ranges(inbox, piece)]
    total = sum((piece.end or piece.file.size) - piece.start for piece in runs)
    if workers == 1 or len(runs) < 2:
        done = 0
        for piece in runs:
            yield ingest_runs(work, piece)
            done += piece.file.size
            if total > LONG_FILE:
                report_progress("reading the inbox", piece.file.name, done // 1_000_000, total // 1_000_000)
        return
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"  # as many processes as cores; read once, when a child imports polars
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(ingest_runs, work, piece) for piece in runs]
            for number, (piece, job) in enumerate(zip(runs, jobs, strict=True)):
                yield job.result()
                report_progress("reading the inbox", piece.file.name, number + 1, len(runs))
    finally:
        if before is None:
            os.environ.pop("POLARS_MAX_THREADS", None)
        else:
            os.environ["POLARS_MAX_THREADS"] = before


def _ranges(inbox: Inbox, piece: Piece) -> list[Piece]:
    if piece.file.size <= RANGE_BYTES or not is_plain_lines(inbox, piece.file):
        return [piece]
    parts, before, open_line = [], 0, False
    with inbox.open(piece.file) as stream:
        for start in range(0, piece.file.size, RANGE_BYTES):
            end = min(start + RANGE_BYTES, piece.file.size)
            # A line that began before the range is counted there.
            parts.append(piece._replace(start=start, end=end, lines_before=before + open_line))
            block = stream.read(end - start)
            before += block.count(b"\n")
            open_line = not block.endswith(b"\n")
    return parts


def _reading(
    found: Survey, formats: dict[str, str], account: Account, staged: list[Staged], staging: Path, week: str
) -> InboxReading:
    names = {number: file.name for number, (file, _, _) in enumerate(found.to_read)}
    firsts = {number: first for number, (_, _, first) in enumerate(found.to_read)}
    ledger = [
        {"source_file": file.name, "file_sha256": digest, "bytes": file.size, "format": formats[file.name],
         "reader_version": READER_VERSION, "first_read_week": first, **account.ledger[number]}
        for number, (file, digest, first) in enumerate(found.to_read)
    ]  # fmt: skip
    offered = {digest: text for one in staged for digest, text in one.toolsets.items()}
    quarantined = [
        {**{key: row[key] for key in row if key != "file"}, "source_file": names[row["file"]]}
        for row in account.quarantined
        if firsts[row["file"]] == week
    ]
    parts = [_without_losers(path, account.losers) for path in sorted(staging.glob("*.parquet"))]
    files = [part for part in parts if part.rows]
    return InboxReading(
        rows=account.week.height,
        quarantined=_numbered(quarantined),
        ledger=sorted([*ledger, *found.known], key=lambda row: row["source_file"]),
        toolsets=[{"tools_sha256": digest, "tools": text} for digest, text in sorted(offered.items())],
        weeks=account.weeks,
        near_duplicates=_near_duplicates(account.week, staging),
        files=Files(files, content_of(account.week["digest"])),
        preview=pl.read_parquet(files[0].path, n_rows=20) if files else pl.DataFrame(),
        staging=staging,
    )


def _without_losers(path: Path, losers: dict[str, pl.DataFrame]) -> DataFile:
    """A staged file without the rows that lost to another place; rewritten only where there are any."""
    part, shard, _ = path.name.split(".")
    lost = losers.get(part)
    rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    if lost is not None:
        frame = pl.read_parquet(path)
        keep = frame.join(
            lost.select("source_line").with_columns(lost=True), on="source_line", how="anti", maintain_order="left"
        )
        if keep.height < rows:
            keep.write_parquet(path, compression="zstd", compression_level=1, statistics=False)
            rows = keep.height
    return DataFile(path, rows, {"shard": shard})


def _near_duplicates(week: pl.DataFrame, staging: Path) -> pl.DataFrame:
    """Exact and near-duplicate groups; the texts of candidates are read back from where they were staged."""

    def requests(ids: list[str]) -> dict[str, str]:
        wanted = pl.DataFrame({"trace_id": ids})
        found = [pl.read_ipc(path).join(wanted, on="trace_id", how="semi") for path in sorted(staging.glob("*.arrow"))]
        return dict(pl.concat(found).select("trace_id", "request").rows()) if found else {}

    if not week.height:
        return pl.DataFrame(
            schema={"trace_id": pl.String, "request_sha256": pl.String, "near_duplicate_group": pl.String}
        )
    groups = banded_groups(week.select("trace_id", "request_digest", "bands"), requests)
    shown = pl.col("request_digest").bin.encode("hex").alias("request_sha256")
    return week.select("trace_id", shown).join(groups, on="trace_id", how="left")


def _numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refusals of one record numbered, so that each has a key."""
    seen: dict[tuple[str, int], int] = {}
    numbered = []
    for row in rows:
        key = (row["source_file"], row["source_line"])
        seen[key] = seen.get(key, -1) + 1
        numbered.append({**row, "position": seen[key]})
    return numbered
