"""Staging: traces become the table's Parquet files, redacted, with an index of what each row is.

traces -> frame -> pseudonyms and redaction -> MinHash bands -> one Parquet file a chunk and shard, and index rows
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
from msgspec import Struct

from flywheel.lake.collect_tables import PRODUCTION_TRACES
from flywheel.privacy.redaction import Policy, redact_frame, redact_text
from flywheel.privacy.vault import Vault
from flywheel.similarity.minhash import bands
from flywheel.traces.records import InboxFile, Record
from flywheel.traces.refused import Refused
from flywheel.traces.trace import (
    SCHEMA_VERSION,
    Columns,
    Toolset,
    Trace,
    columns_of,
    metadata_json,
    signals_json,
    trace_id_of,
)

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
    `tools` are those of runs whose source logs none.
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


@dataclass
class Staged:
    """What came of some pieces.

    Attributes:
        read: file number -> records read.
        context: file number -> records that are part of no run (spans that call no model).
        repeated: file number -> exchanges logged twice.
        quarantined: QUARANTINED_RECORDS rows with the file's number, without the file's name.
        toolsets: tools_sha256 -> JSON text of every toolset met.
        index: one row a trace, see INDEX; of the week's see WEEK_INDEX. `records` are the positions of a run's exchanges.
    """

    read: dict[int, int] = field(default_factory=dict)
    context: dict[int, int] = field(default_factory=dict)
    repeated: dict[int, int] = field(default_factory=dict)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    toolsets: dict[str, str] = field(default_factory=dict)
    index: list[pl.DataFrame] = field(default_factory=list)


class Taken(Struct, gc=False):
    """A trace on its way into a frame: without its messages, which `derived` stands for.

    `file` and `record` place it in the inbox and order the rows; `records` are the positions of a run's exchanges.
    """

    trace: Trace
    derived: Columns
    file: int
    record: int
    source_line: int
    records: list[str] | None


class Stager:
    """Turns traces of one piece into staged frames."""

    def __init__(self, work: Work, piece: Piece) -> None:
        self.work, self.piece = work, piece
        self.vault = Vault(work.vault)
        self.taken: list[Taken] = []
        self.toolsets: dict[str, str] = {}
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
        """Add a trace to the chunk. Its messages are encoded while they are still in the processor's cache, and let go."""
        if not trace.tools.sha256:
            trace.tools = self.work.tools
        self.toolsets.setdefault(trace.tools.sha256, trace.tools.text)
        derived = columns_of(trace)
        trace.messages = []
        positions = [f"{number}:{place}" for number, place in records] if records else None
        self.taken.append(Taken(trace, derived, self.piece.number, record, line + self.piece.lines_before, positions))

    def write(self, staged: Staged) -> None:
        """Stage the chunk taken so far: a file a week, and its index rows."""
        if not self.taken:
            return
        frame = _frame(self.taken, self.piece, self.work, self.vault)
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
            rows.drop([*_NOT_STORED, "shard"]).select(STORED).write_parquet(
                self.work.staging / f"{name}.{number}.parquet",
                compression="zstd",
                compression_level=1,
                statistics=False,
            )
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


def _frame(taken: list[Taken], piece: Piece, work: Work, vault: Vault) -> pl.DataFrame:
    """Traces as columns, in the order in which they were taken."""
    traces, derived = [one.trace for one in taken], [one.derived for one in taken]
    reference = vault.principal_ref
    columns: dict[str, Any] = {
        "trace_id": [trace_id_of(t.source_system, t.source_id) for t in traces],
        "source_system": [t.source_system for t in traces],
        "source_id": [t.source_id for t in traces],
        "source_format": [t.source_format for t in traces],
        "content_sha256": [d.content_sha256 for d in derived],
        "conversation_id": [t.conversation_id or t.source_id for t in traces],
        "principal_ref": [reference(t.principal) if t.principal else None for t in traces],
        "tenant_id": [t.tenant_id for t in traces],
        "workload_id": [t.workload_id for t in traces],
        "agent_name": [t.agent_name for t in traces],
        "provider_name": [t.provider_name for t in traces],
        "request_model": [t.request_model for t in traces],
        "response_model": [t.response_model for t in traces],
        "adapter_id": [t.adapter_id for t in traces],
        "started_at": [_microseconds(t.started_at) for t in traces],
        "ended_at": [_microseconds(t.ended_at) for t in traces],
        "input_tokens": [t.input_tokens for t in traces],
        "output_tokens": [t.output_tokens for t in traces],
        "tools_sha256": [t.tools.sha256 for t in traces],
        "messages": [d.messages for d in derived],
        "assistant_steps": [d.assistant_steps for d in derived],
        "tool_calls": [d.tool_calls for d in derived],
        "tool_errors": [d.tool_errors for d in derived],
        "outcome_status": [t.outcome_status for t in traces],
        "reward": [t.reward for t in traces],
        "feedback_score": [t.feedback_score for t in traces],
        "feedback_comment": [t.feedback_comment for t in traces],
        "signals": [signals_json(t.signals) for t in traces],
        "expected_actions": [
            msgspec.json.encode(t.expected_actions).decode() if t.expected_actions is not None else None for t in traces
        ],
        "environment": [t.environment for t in traces],
        "metadata": [metadata_json(t.metadata) if t.metadata else "{}" for t in traces],
        "request": [d.request for d in derived],
        "message_count": [d.message_count for d in derived],
        "file": [one.file for one in taken],
        "record": [one.record for one in taken],
        "records": [one.records for one in taken],
        "source_line": [one.source_line for one in taken],
    }
    frame = pl.DataFrame(columns, schema_overrides=_TYPES)
    local = pl.col("started_at").dt.convert_time_zone(work.time_zone)
    monday = local.dt.truncate("1w").dt.strftime("%Y-%m-%d")
    return frame.with_columns(
        monday.fill_null(work.first_week).cast(pl.Categorical).alias("week"),
        pl.col("started_at").is_null().alias("undated"),
        pl.lit(piece.file.name).alias("source_file"),
    )


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("principal_ref", "tenant_id", "workload_id", "agent_name", "provider_name", "response_model", "feedback_comment",
                     "expected_actions"), pl.String),
    "started_at": pl.Datetime("us", "UTC"), "ended_at": pl.Datetime("us", "UTC"), "input_tokens": pl.Int64, "output_tokens": pl.Int64,
    "reward": pl.Float64, "feedback_score": pl.Float64, "message_count": pl.Int32, "file": pl.Int32, "record": pl.Int64,
    "records": pl.List(pl.String), "source_line": pl.Int64, "assistant_steps": pl.Int32, "tool_calls": pl.Int32, "tool_errors": pl.Int32,
}  # fmt: skip


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(moment: datetime | None) -> int | None:
    """Since 1970; an integer becomes a column ten times faster than a datetime."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
