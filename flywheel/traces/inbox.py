"""The inbox: files in, traces by week and refused lines out, with an account of every line.

read = accepted + duplicate + quarantined holds for every file and is checked. The reading is a pure function of the
folder and the ledger of earlier readings, so that any week can be rematerialized and gives the same rows.
"""

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json
from flywheel.traces.adapters.openai_messages import Refused, read_line
from flywheel.traces.trace import Trace

_LINE_SHOWN = 2_000
_LINE_LIMIT = 50_000_000


class _Line(NamedTuple):
    number: int
    offset: int
    data: bytes
    whole: bool


@dataclass
class InboxReading:
    """What one reading of the inbox found.

    Attributes:
        traces: week -> PRODUCTION_TRACES rows without partition columns.
        quarantined: week -> QUARANTINED_RECORDS rows; a refused line belongs to the week that first read its file.
        ledger: INBOX_LEDGER rows, one a file.
    """

    traces: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    quarantined: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)


def read_inbox(
    inbox: Path,
    *,
    week: str,
    week_of: Callable[[datetime], str],
    week_start: Callable[[str], datetime],
    ledger: pl.DataFrame,
) -> InboxReading:
    """Read every `*.jsonl` and `*.jsonl.gz` below `inbox`, in name order.

    A trace seen before in this order is a duplicate. A dated trace belongs to the week of its start; an undated one, and
    every refused line, to the week of the run that first read the file: the ledger's `first_read_week`, else `week`.
    Raises FlywheelError when the inbox does not exist.
    """
    if not inbox.is_dir():
        raise FlywheelError(
            "there is no inbox", where=str(inbox), remedy="make that folder and lay production's logs in it"
        )
    first_read = dict(zip(ledger["source_file"], ledger["first_read_week"], strict=True))
    reading = InboxReading()
    seen: set[str] = set()
    files = [path for path in inbox.rglob("*") if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz"))]
    for file in sorted(files, key=lambda path: path.relative_to(inbox).as_posix()):
        name = file.relative_to(inbox).as_posix()
        account = _FileAccount(name, first_read.get(name, week), reading, seen, week_of, week_start)
        for line in _lines(file):
            account.take(line)
        reading.ledger.append(account.close(file))
    return reading


@dataclass
class _FileAccount:
    """Takes the lines of one file one by one and keeps its account."""

    name: str
    first_week: str
    reading: InboxReading
    seen: set[str]
    week_of: Callable[[datetime], str]
    week_start: Callable[[str], datetime]
    counts: Counter[str] = field(default_factory=Counter)
    weeks: Counter[str] = field(default_factory=Counter)

    def take(self, line: _Line) -> None:
        self.counts["read"] += 1
        try:
            trace = _parse(line)
        except Refused as refused:
            self.counts["quarantined"] += 1
            self.reading.quarantined.setdefault(self.first_week, []).append(self._refused_row(line, refused))
            return
        if trace.trace_id in self.seen:
            self.counts["duplicate"] += 1
            return
        self.seen.add(trace.trace_id)
        self.counts["accepted"] += 1
        week = self.week_of(trace.started_at) if trace.started_at else self.first_week
        self.weeks[week] += 1
        row = trace.row(source_file=self.name, source_line=line.number, week_started=self.week_start(week))
        self.reading.traces.setdefault(week, []).append(row)

    def close(self, file: Path) -> dict[str, Any]:
        counted = self.counts["accepted"] + self.counts["duplicate"] + self.counts["quarantined"]
        if counted != self.counts["read"]:
            raise AssertionError(f"{self.name}: {self.counts['read']} lines read, {counted} accounted for")
        data = file.read_bytes()
        return {
            "source_file": self.name,
            "file_sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "first_read_week": self.first_week,
            "weeks": canonical_json(dict(sorted(self.weeks.items()))),
            **{name: self.counts[name] for name in ("read", "accepted", "duplicate", "quarantined")},
        }

    def _refused_row(self, line: _Line, refused: Refused) -> dict[str, Any]:
        return {
            "source_file": self.name,
            "source_line": line.number,
            "byte_offset": line.offset,
            "reason_code": refused.reason_code,
            "detail": refused.detail,
            "remedy": refused.remedy,
            "line": line.data[:_LINE_SHOWN].decode("utf-8", errors="replace"),
        }


def _parse(line: _Line) -> Trace:
    if len(line.data) > _LINE_LIMIT:
        raise Refused("too_long", f"the line has {len(line.data):,} bytes", f"keep a run under {_LINE_LIMIT:,} bytes")
    try:
        text = line.data.decode("utf-8")
    except UnicodeDecodeError as error:
        if line.data.startswith(b"\x1f\x8b"):
            raise Refused(
                "damaged_gzip", "the file's compressed data ends early or is damaged", "send the file again"
            ) from None
        raise Refused("invalid_utf8", f"byte {error.start} is no UTF-8", "write the log as UTF-8") from None
    try:
        return read_line(text)
    except Refused as refused:
        if refused.reason_code == "invalid_json" and not line.whole:
            remedy = "the file was still being written or was cut off: send it again whole, it is read anew"
            raise Refused("truncated_line", "the last line has no end and does not parse", remedy) from None
        raise


def _lines(file: Path) -> Iterator[_Line]:
    """Non-blank lines of a file with number and byte offset (of the uncompressed text)."""
    try:
        data = file.read_bytes()
        if file.name.endswith(".gz"):
            data = gzip.decompress(data)
    except (EOFError, OSError, zlib.error):
        yield _Line(1, 0, file.read_bytes()[:_LINE_SHOWN], True)
        return
    offset = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        end = offset + len(line)
        if line.strip():
            yield _Line(number, offset, line.rstrip(b"\r"), end < len(data))
        offset = end + 1
