"""The inbox: files in, traces of one week out as a stream, refused records beside them, and an account of every record.

    survey (which files concern this week) -> shards -> ingest (map, by whoever works) -> settle (duplicates, account) -> frames

The reading is a pure function of the folder and the ledger of earlier readings, so that any week can be rematerialized and gives
the same rows. A file whose bytes are known and which holds nothing of the week is not read again.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.lake.content import content_of
from flywheel.lake.data_files import DataFile, Files, write_data_file
from flywheel.parallel import IN_THIS_PROCESS, Workers, map_shards
from flywheel.privacy.redaction import Policy
from flywheel.progress import report_progress
from flywheel.similarity.near_duplicates import banded_groups
from flywheel.toolcalls.arguments import sha256_of
from flywheel.traces.accounting import Account, settle, weeks_of
from flywheel.traces.failures import ErrorResults
from flywheel.traces.ingest import format_of
from flywheel.traces.records import Inbox, InboxFile
from flywheel.traces.shards import Shard, cut, ingest
from flywheel.traces.staging import Piece, Staged, Work
from flywheel.traces.trace import NOT_LOGGED, Toolset
from flywheel.workflows.route import Route

READER_VERSION = "1"
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


def reader_version(routes: Sequence[Route]) -> str:
    """Version of a reading; a file read under other routes is read again."""
    return f"{READER_VERSION}-{sha256_of([route.model_dump() for route in routes])[:12]}" if routes else READER_VERSION


def survey(inbox: Inbox, *, week: str, ledger: pl.DataFrame, version: str = READER_VERSION) -> Survey:
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
        same = row is not None and row["file_sha256"] == digest and row["reader_version"] == version
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
    workers: Workers = IN_THIS_PROCESS,
    tools: Toolset = NOT_LOGGED,
    routes: Sequence[Route] = (),
    error_results: ErrorResults = (),
    known_elsewhere: Callable[[], pl.DataFrame] = lambda: NO_RUNS,
) -> InboxReading:
    """Read the surveyed files for one week.

    Args:
        scratch: folder for staged rows, on the lake's disk: its files become the table's.
        week_start: first moment of a week, UTC, for undated runs.
        trace_format: adapter to use instead of sniffing.
        shards: value range of the `shard` column.
        tools: the pack's tools, which runs without logged tools were offered.
        routes, error_results: the pack's, see `routing.py` and `failures.py`.
        workers: who reads. The result does not depend on it.
        known_elsewhere: trace_id and week of the runs in the lake, see `accounting.settle`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    # Whole paths: a worker may stand in another folder.
    staging = Path(tempfile.mkdtemp(prefix="ingest-", dir=scratch.absolute()))
    try:
        formats = {file.name: trace_format or format_of(inbox, file) for file, _, _ in found.to_read}
        # Undated runs belong to the week that first read their file, which differs from file to file.
        groups: dict[str, list[Piece]] = {}
        for number, (file, _, first) in enumerate(found.to_read):
            groups.setdefault(first, []).append(Piece(number, file, formats[file.name]))
        cut_up: list[Shard] = []
        for first, pieces in sorted(groups.items()):
            work = Work(
                inbox.location, staging, first, week, week_start(week), tools, shards, time_zone, policy, vault.absolute(), workflow,
                tuple(routes), error_results,
            )  # fmt: skip
            cut_up += cut(inbox, work, pieces)
        staged = list(map_shards(ingest, cut_up, workers, what="reading the inbox"))
        account = settle(staged, list(range(len(found.to_read))), week, known_elsewhere)
        return _reading(found, formats, account, staged, staging, week, reader_version(routes))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _reading(
    found: Survey,
    formats: dict[str, str],
    account: Account,
    staged: list[Staged],
    staging: Path,
    week: str,
    version: str,
) -> InboxReading:
    names = {number: file.name for number, (file, _, _) in enumerate(found.to_read)}
    firsts = {number: first for number, (_, _, first) in enumerate(found.to_read)}
    ledger = [
        {"source_file": file.name, "file_sha256": digest, "bytes": file.size, "format": formats[file.name],
         "reader_version": version, "first_read_week": first, **account.ledger[number]}
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
    if (there := sum(part.rows for part in files)) != account.week.height:
        raise FlywheelError(f"workers read {account.week.height} runs of the week, and {there} lie where they were to be staged",
                            where=str(staging), remedy="every machine that reads needs the inbox, the lake and the vault at the same paths, "
                            "on one file system")  # fmt: skip
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
            write_data_file(keep, path)
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
