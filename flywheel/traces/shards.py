"""The inbox cut into shards, each of which one worker reads alone; cut by what lies there, never by who works.

A shard is a file, a byte range of a long one, or all files of model calls that belong together: a run may go on in the next file. As the
cut depends on the files alone, the staged rows are the same bytes whoever reads them, and how many do.
"""

from typing import NamedTuple

from flywheel.traces.adapters import ADAPTERS
from flywheel.traces.ingest import ingest_exchanges, ingest_runs
from flywheel.traces.records import Inbox, is_plain_lines
from flywheel.traces.staging import Piece, Staged, Work

RANGE_BYTES = 64_000_000


class Shard(NamedTuple):
    """What to read, and all that is needed to read it; picklable."""

    work: Work
    pieces: tuple[Piece, ...]

    def __str__(self) -> str:
        return self.pieces[0].file.name


def cut(inbox: Inbox, work: Work, pieces: list[Piece]) -> list[Shard]:
    """The shards of some files, in the order of the files; those of model calls first."""
    calls = [piece for piece in pieces if not _holds_runs(piece)]
    ranges = [part for piece in pieces if _holds_runs(piece) for part in _ranges(inbox, piece)]
    return [*([Shard(work, tuple(calls))] if calls else []), *(Shard(work, (part,)) for part in ranges)]


def ingest(shard: Shard) -> Staged:
    """Read one shard; safe to run twice, as its files are named by what was read."""
    if _holds_runs(shard.pieces[0]):
        return ingest_runs(shard.work, shard.pieces[0])
    return ingest_exchanges(shard.work, list(shard.pieces))


def _holds_runs(piece: Piece) -> bool:
    return hasattr(ADAPTERS[piece.format], "read")


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
