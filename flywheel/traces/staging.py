"""Staging: traces become the table's Parquet files, redacted, with an index of what each row is.

traces -> frame -> pseudonyms and redaction -> MinHash bands -> one Parquet file a chunk and shard, and index rows
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.lake.collect_tables import PRODUCTION_TRACES
from flywheel.lake.data_files import write_data_file
from flywheel.privacy.redaction import Policy, redact_frame, redact_text
from flywheel.privacy.vault import Vault
from flywheel.similarity.minhash import bands
from flywheel.traces.failures import ErrorResults, FailureMarker
from flywheel.traces.frame import Taken, frame_of
from flywheel.traces.records import InboxFile, Record
from flywheel.traces.refused import Refused
from flywheel.traces.routing import workflow_of
from flywheel.traces.trace import (
    SCHEMA_VERSION,
    Toolset,
    Trace,
    columns_of,
)
from flywheel.workflows.route import Route

_SHOWN = 2_000
# Where formats name the person served; a refused line is kept without it.
_PERSON = re.compile(r'("(?:principal|user|user_id|userId|enduser\.id|user\.id)"\s*:\s*")([^"]+)')
STORED = [name for name in PRODUCTION_TRACES.polars_schema() if name not in ("week", "workflow", "shard")]
INDEX = ("trace_id", "message_count", "file", "record", "records", "week", "undated")
# A million of these are held while a week is read: digests are bytes, what repeats is categorical.
WEEK_INDEX = (*INDEX, "request_digest", "bands", "digest", "part", "source_line")
_NOT_STORED = (
    "request",
    "message_count",
    "file",
    "record",
    "records",
    "week",
    "undated",
    "bands",
    "request_digest",
    "digest",
    "part",
)
# What a row is known by: two rows equal in these are the same row.
_IDENTITY = ("trace_id", "content_sha256", "tools_sha256", "conversation_id", "principal_ref", "adapter_id", "started_at",
             "outcome_status", "reward", "feedback_score", "feedback_comment", "signals", "expected_actions", "redactions")  # fmt: skip


class Piece(NamedTuple):
    """What one worker reads: one file, or a byte range of it (end None: to its end); `number` is the file's place in the inbox."""

    number: int
    file: InboxFile
    format: str
    start: int = 0
    end: int | None = None
    lines_before: int = 0


class Work(NamedTuple):
    """Everything a worker needs besides its pieces; picklable, so that it can be sent to another process.

    `first_week` is the one undated runs of its pieces belong to, `week` the one whose rows are staged, starting at `started`;
    `tools` are those of runs whose source logs none; `routes` say which runs are the workflow's, none: all;
    `error_results` which results of which tools are failures.
    """

    inbox: str
    staging: Path
    first_week: str
    week: str
    started: datetime
    tools: Toolset
    shards: int
    time_zone: str
    policy: Policy
    vault: Path
    workflow: str
    routes: tuple[Route, ...] = ()
    error_results: ErrorResults = ()


@dataclass
class Staged:
    """What came of some pieces.

    Attributes:
        read: file number -> records read.
        context: file number -> records that are part of no run (spans that call no model).
        repeated: file number -> exchanges logged twice.
        elsewhere: file number -> records of runs that belong to another workflow.
        quarantined: QUARANTINED_RECORDS rows with the file's number, without the file's name.
        toolsets: tools_sha256 -> JSON text of every toolset met.
        index: one row a trace, see INDEX; of the week's see WEEK_INDEX. `records` are the positions of a run's exchanges.
    """

    read: dict[int, int] = field(default_factory=dict)
    context: dict[int, int] = field(default_factory=dict)
    repeated: dict[int, int] = field(default_factory=dict)
    elsewhere: dict[int, int] = field(default_factory=dict)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    toolsets: dict[str, str] = field(default_factory=dict)
    index: list[pl.DataFrame] = field(default_factory=list)


class Stager:
    """Turns traces of one piece into staged frames."""

    def __init__(self, work: Work, piece: Piece) -> None:
        self.work, self.piece = work, piece
        self.vault = Vault(work.vault)
        self.taken: list[Taken] = []
        self.toolsets: dict[str, str] = {}
        self.elsewhere: Counter[int] = Counter()
        self.mark_failures = FailureMarker(work.error_results)
        self.written = 0

    def quarantined(self, record: Record, refused: Refused) -> dict[str, Any]:
        """A QUARANTINED_RECORDS row; the line is redacted before it is kept."""
        line = _PERSON.sub(self._pseudonym, record.data[:_SHOWN].decode("utf-8", errors="replace"))
        return {
            "file": self.piece.number,
            "source_line": record.number + self.piece.lines_before,
            "byte_offset": record.offset,
            "reason_code": refused.reason_code,
            "detail": redact_text(refused.detail, self.work.policy, self.vault),
            "remedy": refused.remedy,
            "line": redact_text(line, self.work.policy, self.vault),
        }

    def _pseudonym(self, match: re.Match[str]) -> str:
        return f"{match.group(1)}{self.vault.principal_ref(match.group(2))}"

    def take(self, trace: Trace, record: int, line: int, records: list[tuple[int, int]] | None = None) -> None:
        """Add a trace to the chunk; raises Refused for one that no route knows.

        Its messages are encoded while they are still in the processor's cache, and let go.
        """
        if self.work.routes and workflow_of(trace, self.work.routes) != self.work.workflow:
            self.elsewhere.update(number for number, _ in records or [(self.piece.number, 0)])
            return
        if not trace.tools.sha256:
            trace.tools = self.work.tools
        self.toolsets.setdefault(trace.tools.sha256, trace.tools.text)
        self.mark_failures(trace.messages)
        derived = columns_of(trace)
        trace.messages = []
        positions = [f"{number}:{place}" for number, place in records] if records else None
        self.taken.append(Taken(trace, derived, self.piece.number, record, line + self.piece.lines_before, positions))

    def write(self, staged: Staged) -> None:
        """Stage the chunk taken so far: a file a week, and its index rows."""
        for number, count in self.elsewhere.items():
            staged.elsewhere[number] = staged.elsewhere.get(number, 0) + count
        self.elsewhere.clear()
        if not self.taken:
            return
        frame = frame_of(self.taken, self.piece.file.name, self.work.first_week, self.work.time_zone, self.vault)
        self.taken = []
        staged.toolsets.update(self.toolsets)
        if erased := self.vault.erased():
            gone = frame.filter(pl.col("principal_ref").is_in(erased))
            frame = frame.filter(~pl.col("principal_ref").is_in(erased).fill_null(False))
            self._refuse_erased(gone, staged)
        for (week,), part in frame.partition_by("week", as_dict=True, maintain_order=True).items():
            if week == self.work.week:
                staged.index.append(self._stage_week(part))
            else:
                staged.index.append(part.select(INDEX))

    def _stage_week(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Redact rows of the week and write them as the table's Parquet files, one a shard; returns their index."""
        frame = redact_frame(frame, self.work.policy, self.vault)
        request = frame["request"]
        digested = frame.select(
            pl.concat_str(pl.col(_IDENTITY).cast(pl.String).fill_null("\0"), separator="\1")
        ).to_series()
        shard = pl.col("trace_id").str.slice(0, 6).str.to_integer(base=16) % self.work.shards
        frame = frame.with_columns(
            bands(request).alias("bands"),
            pl.Series("request_digest", [sha256(text.encode()).digest()[:16] for text in request], dtype=pl.Binary),
            pl.Series("digest", [sha256(text.encode()).digest() for text in digested], dtype=pl.Binary),
            pl.col("started_at").fill_null(self.work.started),
            shard.cast(pl.Int32).alias("shard"),
            pl.lit(SCHEMA_VERSION, pl.Int32).alias("schema_version"),
            pl.lit(self.work.first_week).alias("first_read_week"),
        )
        self.written += 1
        name = f"{self.piece.number:06d}-{self.piece.start:015d}-{self.written:06d}"
        frame = frame.with_columns(part=pl.lit(name, pl.Categorical))
        for (number,), rows in frame.partition_by("shard", as_dict=True, maintain_order=True).items():
            stored = rows.drop([*_NOT_STORED, "shard"]).select(STORED)
            write_data_file(stored, self.work.staging / f"{name}.{number}.parquet")
        frame.select("trace_id", "request").write_ipc(self.work.staging / f"{name}.arrow")
        return frame.select(WEEK_INDEX)

    def _refuse_erased(self, gone: pl.DataFrame, staged: Staged) -> None:
        error = Refused(
            "erased_principal", "the person asked for erasure", "nothing to do: take the record out of the inbox"
        )
        for row in gone.select("file", "record", "records").iter_rows(named=True):
            for position in row["records"] or [f"{row['file']}:{row['record']}"]:
                number, place = position.split(":")
                lost = Record(int(place), 0, b"")
                staged.quarantined.append({**self.quarantined(lost, error), "file": int(number)})
