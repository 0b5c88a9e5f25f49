"""A sample of the runs in some log files, read without a pack, a lake or redaction: what `flywheel init --from` looks at.

Nothing is stored. Of each file only the first records are read, so that an enormous log costs no more than a small one.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from flywheel.errors import FlywheelError
from flywheel.traces.adapters import ADAPTERS, messages
from flywheel.traces.exchange import Exchange, stitch
from flywheel.traces.ingest import UNFORESEEN, format_of, parts_of
from flywheel.traces.records import SUFFIXES, Inbox, InboxFile, Record
from flywheel.traces.refused import Refused
from flywheel.traces.strict_json import strict_object
from flywheel.traces.trace import Trace

CALLS_PER_RUN = 8  # model calls read where a file logs calls, for each run wanted
_SHOWN = 3


class Sample(NamedTuple):
    """What was read.

    Attributes:
        runs: in the order of the files.
        files: name of every log file -> records read of it; 0 for one that was passed over.
        formats: format -> files.
        refused: (reason, remedy) -> records.
        whole: whether every record of every file was read.
        foreign: file endings the inbox does not take -> files.
        tool_lists: files that look like lists of tools.
    """

    runs: list[Trace]
    files: dict[str, int]
    formats: Counter[str]
    refused: Counter[tuple[str, str]]
    whole: bool
    foreign: Counter[str]
    tool_lists: set[str]


def log_files(location: Path) -> tuple[Inbox, list[InboxFile], Counter[str]]:
    """The log files at a file or folder, and how many other files lie there by ending.

    Raises FlywheelError where there is nothing an inbox takes, saying what lies there instead.
    """
    if not location.exists():
        raise FlywheelError("there is no such file or folder", where=str(location), remedy="name your agent's logs")
    inbox = Inbox(str(location if location.is_dir() else location.parent))
    if location.is_dir():
        found = inbox.files()
        taken = {file.name for file in found}
        others = [path for path in location.rglob("*") if path.is_file()]
        foreign = Counter(
            path.suffix or "no ending" for path in others if path.relative_to(location).as_posix() not in taken
        )
    else:
        named = location.name.endswith(SUFFIXES)
        found = [InboxFile(location.name, str(location), location.stat().st_size)] if named else []
        foreign = Counter() if named else Counter([location.suffix or "no ending"])
    inside = [file for file in found if file.inside]
    if not inside:
        lies = ", ".join(f"{count} {ending}" for ending, count in foreign.most_common(5)) or "nothing"
        raise FlywheelError(f"no log file is there; what lies there: {lies}", where=str(location),
                            remedy=f"name files that end in {', '.join(SUFFIXES[::3])} (also .gz, .zst), one agent run or model call a line")  # fmt: skip
    return inbox, inside, foreign


def sample(location: Path, runs: int = 1_000) -> Sample:
    """Up to about `runs` runs, evenly from all files; raises FlywheelError with the reasons when there is not one."""
    inbox, files, foreign = log_files(location)
    step = max(1, len(files) // runs)
    budget = max(1, runs // len(files[::step]))
    read = Sample([], {file.name: 0 for file in files}, Counter(), Counter(), step == 1, foreign, set())
    calls: list[Exchange] = []
    for number, file in enumerate(files[::step]):
        name = format_of(inbox, file)
        read.formats[name] += 1
        single = hasattr(ADAPTERS[name], "read")
        wanted = budget if single else budget * CALLS_PER_RUN
        for record in islice(inbox.records(file), wanted + 1):
            if read.files[file.name] >= wanted:
                read = read._replace(whole=False)
                break
            read.files[file.name] += 1
            try:
                if record.refused is not None:
                    raise record.refused
                if single:
                    read.runs.extend(_runs(record))
                else:
                    calls += _calls(record, name, number)
            except Refused as refused:
                read.refused[f"{refused.reason_code}: {refused.detail}", refused.remedy] += 1
                if b'"function"' in record.data and b'"parameters"' in record.data:
                    read.tool_lists.add(file.name)
            except UNFORESEEN as error:
                read.refused[f"unforeseen_shape: {type(error).__name__}", "report the record's shape"] += 1
    read.runs.extend(run.trace for run in stitch(calls)[0])
    answered = [run for run in read.runs if any(message.role == "assistant" for message in run.messages)]
    if not answered:
        raise _nothing(location, read)
    return read._replace(runs=answered)


def _runs(record: Record) -> list[Trace]:
    """The run of a record, or the runs of a results file; a bad one among several is passed over."""
    trace = messages.read_quickly(record.data)
    if trace is not None:
        return [trace]
    value = strict_object(record.data)
    several = messages.unpack(value)
    return [messages.from_object(value)] if several is None else list(_readable(several))


def _readable(several: list[dict]) -> Iterator[Trace]:
    for run in several:
        try:
            yield messages.from_object(run)
        except Refused:
            continue


def _calls(record: Record, name: str, number: int) -> list[Exchange]:
    found: list[Exchange] = []
    for part in parts_of(ADAPTERS[name], name, strict_object(record.data)):
        for exchange in ADAPTERS[name].exchanges(part):
            exchange.position = (number, record.number)
            found.append(exchange)
    return found


def _nothing(location: Path, read: Sample) -> FlywheelError:
    records = sum(read.files.values())
    why = "; ".join(f"{count} x {reason}" for (reason, _), count in read.refused.most_common(_SHOWN))
    remedy = next((remedy for (_, remedy), _ in read.refused.most_common(1)), "lay finished logs there")
    return FlywheelError(f"no agent run could be read from {len(read.files)} files, {records} records: {why or 'they are empty'}",
                         where=str(location), remedy=f"{remedy}; docs/traces.md names the formats")  # fmt: skip
