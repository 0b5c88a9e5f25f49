"""Map: records of inbox files become staged rows, file by file or range by range (see `shards.py`).

    records -> adapter -> traces -> staging (see `staging.py`)

Nothing is decided here that needs to see another file: duplicates, weeks and the account are `accounting.py`'s. Rows are staged in
the order of the files, so that the tables are the same however the work was cut.
"""

import gc
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec

from flywheel.progress import report_progress
from flywheel.traces.adapters import ADAPTERS, messages, sniff
from flywheel.traces.exchange import Exchange, Stitched, stitch
from flywheel.traces.records import Inbox, InboxFile, Record
from flywheel.traces.refused import Refused
from flywheel.traces.staging import Piece, Staged, Stager, Work
from flywheel.traces.strict_json import strict_object

CHUNK = 8_000
LONG_FILE = 50_000_000  # bytes from which on a reading says how far it is
SNIFFED = 50


def format_of(inbox: Inbox, file: InboxFile) -> str:
    """The file's format, by its first records."""

    def first() -> Iterator[dict[str, Any]]:
        for record in inbox.records(file):
            if record.number > SNIFFED:
                return
            try:
                value = msgspec.json.decode(record.data) if record.refused is None else None
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                continue
            if isinstance(value, dict):
                yield value

    return sniff(first())


def ingest_runs(work: Work, piece: Piece) -> Staged:
    """Read a piece whose records are whole runs; the rows of the week are staged chunk by chunk, of the others only the index."""
    staged, stage = Staged(), Stager(work, piece)
    collecting = gc.isenabled()
    gc.disable()  # walking the live traces of a chunk doubles what parsing costs; nothing here makes cycles
    try:
        for number, record in enumerate(Inbox(work.inbox).records(piece.file, piece.start, piece.end), 1):
            count, failed = _read_run(record, stage)
            staged.read[piece.number] = staged.read.get(piece.number, 0) + count
            if failed:
                staged.quarantined += [stage.quarantined(record, one) for one in failed]
            if number % CHUNK == 0:
                stage.write(staged)
                if piece.end is None and piece.file.size > LONG_FILE:  # shards are counted by who waits for them
                    report_progress(
                        "reading the inbox", piece.file.name, record.offset // 1_000_000, piece.file.size // 1_000_000
                    )
        stage.write(staged)
    finally:
        if collecting:
            gc.enable()
    return staged


def _read_run(record: Record, stage: Stager) -> tuple[int, list[Refused]]:
    """Stage the record's run, or the runs of a tau2 results file; how many records that was, and the refusals."""
    try:
        if record.refused is not None:
            raise record.refused
        trace = messages.read_quickly(record.data)
        if trace is None:
            value = strict_object(record.data)
            if (runs := messages.unpack(value)) is not None:
                return len(runs), _read_document(record, runs, stage)
            trace = messages.from_object(value)
        stage.take(trace, record.offset, record.number)
    except Refused as refused:
        return 1, [_cut_off(record, refused)]
    except UNFORESEEN as error:
        return 1, [_unforeseen(error)]
    return 1, []


def _read_document(record: Record, runs: list[dict[str, Any]], stage: Stager) -> list[Refused]:
    refused = []
    for number, run in enumerate(runs):
        try:
            stage.take(messages.from_object(run), record.offset + number, number + 1)
        except Refused as error:
            refused.append(error)
        except UNFORESEEN as error:
            refused.append(_unforeseen(error))
    return refused


def _cut_off(record: Record, refused: Refused) -> Refused:
    if refused.reason_code == "invalid_json" and not record.whole:
        remedy = "the file was still being written or was cut off: send it again whole, it is read anew"
        return Refused("truncated_line", "the last line has no end and does not parse", remedy)
    return refused


def ingest_exchanges(work: Work, pieces: list[Piece]) -> Staged:
    """Read pieces whose records are model calls, stitch them into runs over all files, and stage the runs.

    The exchanges of all files are held in memory together, about 5 kB each: a run may go on in the next file.
    """
    staged, found = Staged(), []
    names = {piece.number: piece for piece in pieces}
    for piece in pieces:
        stage = Stager(work, piece)
        for record in Inbox(work.inbox).records(piece.file):
            found += _read_exchanges(record, piece, stage, staged)
    runs, repeated = stitch(found)
    for number, _ in repeated:
        staged.repeated[number] = staged.repeated.get(number, 0) + 1
    for system in dict.fromkeys(run.positions[0][0] for run in runs):
        piece = names[system]
        stage = Stager(work, piece)
        mine = [run for run in runs if run.positions[0][0] == system]
        whole = [run for run in mine if any(message.role == "assistant" for message in run.trace.messages)]
        for run in mine:
            if run not in whole:
                error = Refused(
                    "no_assistant_step",
                    "the model never answered in this run",
                    "nothing to mend: it is kept here as evidence",
                )
                staged.quarantined += _lost(run, stage, error)
        for number, run in enumerate(whole, 1):
            place = run.positions[0][1]
            try:
                stage.take(run.trace, place, place, run.positions)
            except Refused as refused:
                staged.quarantined += _lost(run, stage, refused)
            if number % CHUNK == 0:
                stage.write(staged)
        stage.write(staged)
    return staged


def _lost(run: Stitched, stage: Stager, refused: Refused) -> list[dict[str, Any]]:
    """Every exchange of a run that was refused as a whole."""
    rows = [(number, stage.quarantined(Record(place, 0, b""), refused)) for number, place in run.positions]
    return [{**row, "file": number} for number, row in rows]


# What a producer's unforeseen shape raises in an adapter; the record is kept with it, instead of stopping the week.
UNFORESEEN = (AttributeError, TypeError, KeyError, IndexError, ValueError, OverflowError, RecursionError)


def _read_exchanges(record: Record, piece: Piece, stage: Stager, staged: Staged) -> list[Exchange]:
    adapter = ADAPTERS[piece.format]
    try:
        if record.refused is not None:
            raise record.refused
        value = strict_object(record.data)
        listed = parts_of(adapter, piece.format, value)
    except Refused as refused:
        staged.read[piece.number] = staged.read.get(piece.number, 0) + 1
        staged.quarantined.append(stage.quarantined(record, _cut_off(record, refused)))
        return []
    found: list[Exchange] = []
    for part in listed:
        staged.read[piece.number] = place = staged.read.get(piece.number, 0) + 1
        try:
            made = adapter.exchanges(part)
        except Refused as refused:
            staged.quarantined.append(stage.quarantined(record, refused))
            continue
        except UNFORESEEN as error:
            staged.quarantined.append(stage.quarantined(record, _unforeseen(error)))
            continue
        if not made:
            staged.context[piece.number] = staged.context.get(piece.number, 0) + 1
        for exchange in made:
            exchange.position = (piece.number, place)
            found.append(exchange)
    return found


def parts_of(adapter: ModuleType, name: str, value: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a record of the file's format; raises Refused for another format or an unforeseen shape."""
    try:
        if not adapter.recognises(value) and not _fits(name, value):
            remedy = "keep one format a file, or set `traces.format` in workflow.yaml"
            raise Refused("unrecognised_record", f"the record is no {name}", remedy)
        return adapter.parts(value) if hasattr(adapter, "parts") else [value]
    except UNFORESEEN as error:
        raise _unforeseen(error) from None


def _unforeseen(error: Exception) -> Refused:
    return Refused(
        "unforeseen_shape", f"{type(error).__name__} while reading it", "report the record's shape; it is kept here"
    )


def _fits(name: str, value: dict[str, Any]) -> bool:
    """Spans of one file may be of either kind, and requests with and without a workload id stand beside each other."""
    family = {"openinference": "otel_genai", "otel_genai": "openinference", "nvidia_flywheel": "chat_completions",
              "chat_completions": "nvidia_flywheel"}.get(name)  # fmt: skip
    return family is not None and ADAPTERS[family].recognises(value)
