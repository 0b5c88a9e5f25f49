"""Files into records: plain, gzip or zstd; one JSON object a line, one array, or one document; every byte bounded.

What goes here: bytes and where they lie. What a record means is for the adapters. Files are found through fsspec, so an inbox
is a folder or any object-store prefix that fsspec knows.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

from flywheel.errors import FlywheelError
from flywheel.traces.refused import Refused
from flywheel.traces.rejoined import Rejoined

LINE_LIMIT = 50_000_000
DOCUMENT_LIMIT = 512_000_000
EXPANSION_LIMIT = 400  # decompressed bytes for one compressed; JSON logs reach 5 to 60
_EXPANSION_FREE = 256_000_000
_BLOCK = 262_144
_SHOWN = 2_000
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst"))
_array = msgspec.json.Decoder(list[Raw]).decode


class InboxFile(NamedTuple):
    """One file of an inbox: name relative to it, full path or key, size, and whether it lies where it says."""

    name: str
    path: str
    size: int
    inside: bool = True


class Record(Struct, gc=False):
    """One record: 1-based number, offset of its first byte (uncompressed), its bytes, and why they are no record at all."""

    number: int
    offset: int
    data: bytes
    refused: Refused | None = None
    whole: bool = True


class Inbox:
    """A workflow's inbox: a local folder or an fsspec URL.

    Args:
        location: folder or URL, e.g. s3://bucket/prefix.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.local = "://" not in location
        if self.local:
            self._fs, self._root = None, str(Path(location).absolute())
        else:
            import fsspec

            try:
                self._fs, self._root = fsspec.core.url_to_fs(location)
            except (ValueError, ImportError) as error:
                raise FlywheelError(f"the inbox cannot be opened: {error}", where=location,
                                    remedy="install the fsspec package of that store, e.g. s3fs, or correct `inbox`") from None  # fmt: skip

    def files(self) -> list[InboxFile]:
        """Its files in name order; names that begin with a dot and `.partial` files are being written and are left alone."""
        found = self._local_files() if self.local else self._remote_files()
        usable = [file for file in found if file.name.endswith(SUFFIXES) and not _hidden(file.name)]
        return sorted(usable, key=lambda file: file.name)

    def _local_files(self) -> list[InboxFile]:
        root = Path(self._root)
        if not root.is_dir():
            raise FlywheelError(
                "there is no inbox", where=str(root), remedy="make that folder and lay production's logs in it"
            )
        real = root.resolve()
        found = []
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder) / name
                inside = path.resolve().is_relative_to(real)
                size = path.stat().st_size if inside and path.is_file() else 0
                if path.is_file() or not inside:
                    found.append(InboxFile(path.relative_to(root).as_posix(), str(path), size, inside))
        return found

    def _remote_files(self) -> list[InboxFile]:
        assert self._fs is not None
        try:
            listed: Any = self._fs.find(self._root, detail=True)
        except OSError as error:
            raise FlywheelError(f"the inbox cannot be listed: {error}", where=self.location,
                                remedy="check the address, the network and the credentials") from None  # fmt: skip
        prefix = self._root.rstrip("/") + "/"
        return [
            InboxFile(path.removeprefix(prefix), path, int(about.get("size") or 0))
            for path, about in listed.items()
            if about.get("type", "file") == "file"
        ]

    def open(self, file: InboxFile) -> BinaryIO:
        """The file's bytes as they lie there."""
        if self._fs is None:
            return Path(file.path).open("rb")
        return self._fs.open(file.path, "rb")  # type: ignore[return-value]

    def sha256(self, file: InboxFile) -> str:
        """Hash of the file's bytes."""
        if not file.inside:
            return ""
        with self.open(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]

    def records(self, file: InboxFile, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """The file's records; with `start` and `end` only the lines that begin in that byte range (plain local files).

        What cannot be read is a record with its reason, so that nothing is lost without a word.
        """
        if not file.inside:
            yield Record(
                1, 0, b"", Refused("outside_inbox", "the name leads out of the inbox", "lay the file itself there")
            )
            return
        with self.open(file) as raw:
            if start or end is not None:
                yield from _range(raw, start, end if end is not None else file.size)
                return
            head = raw.read(4)
            raw.seek(0)
            packed = "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == b"\x28\xb5\x2f\xfd" else None
            stream = _Bounded(pa.CompressedInputStream(raw, packed), file.size, packed) if packed else raw
            yield from _records(stream)  # type: ignore[arg-type]


def is_plain_lines(inbox: Inbox, file: InboxFile) -> bool:
    """Whether the file is uncompressed JSON lines on a local disk, which can be read in ranges by several processes."""
    if not inbox.local or not file.inside or not file.name.endswith((".jsonl", ".ndjson")):
        return False
    with inbox.open(file) as stream:
        head = stream.read(4)
    return head[:1] == b"{" and not head.startswith(b"\x1f\x8b")


class _Bounded(io.RawIOBase):
    """A decompressing stream that stops at damage and at bombs, and remembers why."""

    def __init__(self, stream: Any, size: int, kind: str) -> None:
        self._stream, self._size, self._kind = stream, max(size, 1), kind
        self._given = 0
        self.refused: Refused | None = None

    def read(self, size: int = -1) -> bytes:
        if self.refused:
            return b""
        try:
            data = self._stream.read(_BLOCK if size < 0 else size)
        except (OSError, ValueError, EOFError) as error:
            detail = f"the {self._kind} data ends early or is damaged: {str(error)[:120]}"
            self.refused = Refused(f"damaged_{self._kind}", detail, "send the file again")
            return b""
        self._given += len(data)
        if self._given > _EXPANSION_FREE and self._given > EXPANSION_LIMIT * self._size:
            detail = f"{self._size:,} bytes grew past {self._given:,}"
            self.refused = Refused("compression_bomb", detail, "send the file less compressed, or in parts")
            return b""
        return data


def _records(stream: BinaryIO) -> Iterator[Record]:
    head = stream.read(_BLOCK)
    first = head.lstrip()[:1]
    line, newline, rest = head.partition(b"\n")
    several = newline and rest.strip()
    if first == b"[" or (first == b"{" and not (several and _parses(line)) and not (not several and _parses(line))):
        whole = _all(stream, head)
        # What was cut at the limit may parse by chance, with more behind it: only what was taken to its end is a document.
        document = _document(whole) if len(whole) < DOCUMENT_LIMIT else None
        if document is not None:
            yield from document
            if refused := getattr(stream, "refused", None):
                yield Record(0, len(whole), b"", refused)
            return
        yield from _lines(Rejoined(whole, stream), b"", None)  # type: ignore[arg-type]
        return
    yield from _lines(stream, head, None)


def _all(stream: BinaryIO, head: bytes) -> bytes:
    """The file from its beginning, up to the limit of a document; a longer one is read as lines, all of it."""
    parts, size = [head], len(head)
    while size < DOCUMENT_LIMIT and (block := stream.read(_BLOCK)):
        parts.append(block)
        size += len(block)
    return b"".join(parts)


def _parses(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=Raw)
        return True
    except (msgspec.MsgspecError, RecursionError):
        return False


def _document(data: bytes) -> Iterator[Record] | None:
    """The elements of one JSON array, or one object written over several lines; None when the file is neither."""
    try:
        if data.lstrip()[:1] == b"{":
            return iter([Record(1, 0, data.strip())]) if _parses(data) else None
        elements = _array(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return _elements(data, elements)


def _elements(data: bytes, elements: list[Raw]) -> Iterator[Record]:
    place = 0
    for number, element in enumerate(elements, 1):
        text = bytes(element)
        place = data.find(text, place)
        yield Record(number, place, text)
        place += len(text)


def _lines(stream: BinaryIO, head: bytes, refused: Refused | None) -> Iterator[Record]:
    """Non-blank lines; one past the limit is refused without being held."""
    number, offset, carried, skipped, last = 0, 0, head or stream.read(_BLOCK), 0, b""
    while True:
        block = stream.read(
            max(_BLOCK, len(last))
        )  # a long line in ever larger blocks: else its bytes are copied again and again
        pieces = carried.split(b"\n")
        last = pieces.pop()
        for piece in pieces:
            number += 1
            if skipped or len(piece) > LINE_LIMIT:
                yield Record(number, offset, piece[:_SHOWN], _too_long(skipped + len(piece)))
            elif piece.strip():
                yield Record(number, offset, piece.rstrip(b"\r"))
            offset += skipped + len(piece) + 1
            skipped = 0
        if len(last) > LINE_LIMIT or skipped:
            skipped, last = skipped + len(last), b""
        if not block:
            break
        carried = last + block
    damage = refused or getattr(stream, "refused", None)
    if skipped:
        yield Record(number + 1, offset, b"", _too_long(skipped))
    elif last.strip() and not damage:
        yield Record(number + 1, offset, last.rstrip(b"\r"), whole=False)
    if damage:
        yield Record(number + 2, offset, last[:_SHOWN], damage)


def _range(stream: BinaryIO, start: int, end: int) -> Iterator[Record]:
    """Lines that begin in [start, end); numbers are not known there and stand for the order inside the range."""
    if start:
        stream.seek(start - 1)
        stream.readline(LINE_LIMIT + 2)
    offset, number = stream.tell(), 0
    while offset < end:
        line = stream.readline(LINE_LIMIT + 2)
        if not line:
            break
        number += 1
        length = len(line)
        if length > LINE_LIMIT:
            while not line.endswith(b"\n") and (line := stream.readline(_BLOCK)):
                length += len(line)
            yield Record(number, offset, b"", _too_long(length))
        elif line.strip():
            yield Record(number, offset, line.rstrip(b"\r\n"), whole=line.endswith(b"\n"))
        offset += length


def _too_long(length: int) -> Refused:
    return Refused("too_long", f"the record has {length:,} bytes", f"keep a run under {LINE_LIMIT:,} bytes")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.endswith(".partial")
