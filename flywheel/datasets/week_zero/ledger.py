"""The ledger of week zero: demonstrations as they came, and what people said of them. Both files only grow; what counts is derived.

    drafts.jsonl      one demonstration a line, whoever made it
    decisions.jsonl   who accepted or refused which, and when

They lie in `home/bootstrap/<workflow>`. What counts is written to the pack's `demonstrations/week_zero.jsonl`, as a whole, each time.

A demonstration is accepted first by whoever wrote it, by a verifier that the pack names, or, where a model made it, by a person
(design.md 8.7). Then a second person looks at it: at all whose calls change something, and at the stated share of the others. A share of
the lot stands for the rest of it, so a row that was not looked at says `sampled`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flywheel.datasets.demonstrations import same_person
from flywheel.datasets.teacher import add_row, read_rows, write_rows
from flywheel.datasets.week_zero.cells import Cell, cell_of_run, changes_state
from flywheel.datasets.week_zero.prompts import TASKS, forget_prompts, trace_of
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of
from flywheel.toolcalls.schema_check import check_call
from flywheel.workflows.pack import Pack

FILE = "week_zero.jsonl"
# Refusals tell nothing of a lot before so many were looked at.
_ENOUGH = 10
Row = dict[str, Any]
Status = Literal["first", "second", "counts", "refused"]


class Ledger(NamedTuple):
    """The files of one workflow: drafts, decisions, and the pack's own file of those that count."""

    drafts: Path
    decisions: Path
    counting: Path


class Standing(NamedTuple):
    """Where one demonstration stands.

    Attributes:
        row: the draft.
        cell, writes: what it shows, and whether its calls change something.
        status: it waits for a `first` or a `second` person, `counts`, or is `refused`.
        first, second: who accepted it; a verifier is named `verifier_NAME`.
    """

    row: Row
    cell: Cell
    writes: bool
    status: Status
    first: str | None
    second: str | None


class Lot(NamedTuple):
    """All demonstrations of a workflow, the share that is looked at now, and what was found by looking."""

    standings: list[Standing]
    share: float
    looked_at: int
    refused_there: int

    def of(self, *wanted: Status) -> list[Standing]:
        """Those that stand at one of these."""
        return [one for one in self.standings if one.status in wanted]


def measured_minutes(lot: Lot) -> tuple[float, int] | None:
    """Median active minutes that the workbench measured of a demonstration, and of how many; None where none was measured."""
    told = [(one.row.get("effort") or {}).get("active_ms") for one in lot.standings]
    known = [value / 60_000 for value in told if value]
    return (statistics.median(known), len(known)) if known else None


def ledger_of(folder: Path, pack: Path) -> Ledger:
    """The files below `home/bootstrap`, for the pack in a folder; a broken pack has them too."""
    here = folder / pack.name
    return Ledger(here / "drafts.jsonl", here / "decisions.jsonl", pack / "demonstrations" / FILE)


def draft(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], *, source: Literal["person", "teacher", "run"],
    annotator: str, annotator_kind: Literal["human", "model", "simulated"], conversation_id: str, trains_from: int = 0,
    **more: Any,
) -> Row:  # fmt: skip
    """A draft's row; its id is that of the demonstration it may become.

    Args:
        more: verifier, teacher, trace_id, principal_ref, tenant_id, task, effort, where there are any.
    """
    return {
        "id": sha256_of([tools, messages])[:16], "conversation_id": conversation_id, "tools": list(tools), "messages": list(messages),
        "trains_from": trains_from, "source": source, "annotator": annotator, "annotator_kind": annotator_kind, **more,
    }  # fmt: skip


def add_drafts(ledger: Ledger, rows: Sequence[Row]) -> int:
    """Keep the drafts that are not there yet; how many were new.

    Raises FlywheelError for one that makes a call its tool does not accept, or does not end on a step of the assistant's.
    """
    known = {row["id"] for row in read_rows(ledger.drafts)}
    new = list({row["id"]: row for row in rows if row["id"] not in known}.values())
    for row in new:
        if problem := problem_with(row):
            raise FlywheelError(f"that is no demonstration: {problem}", where=row["conversation_id"],
                                remedy="correct it and hand it in again")  # fmt: skip
    for row in new:
        add_row(ledger.drafts, {**row, "at": datetime.now(UTC).isoformat()})
    return len(new)


def problem_with(row: Row) -> str | None:
    """Why a row is no demonstration, or None: its calls are ones the tools accept, each answered, and nothing waits for the assistant."""
    messages = row["messages"]
    shown = [message["role"] for message in messages[row["trains_from"] :]]
    if "assistant" not in shown or shown[-1] not in ("assistant", "tool"):
        return "it does not end on a step of the assistant's"
    answered = {one.get("tool_call_id") for one in messages if one["role"] == "tool"}
    for at, message in enumerate(messages[row["trains_from"] :], row["trains_from"]):
        for call in message.get("tool_calls") or []:
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            if problems := check_call(row["tools"], name, arguments):
                return f"call of {name}: {problems[0].message}"
            if at < len(messages) - 1 and call["id"] not in answered:
                return f"call of {name} has no result"
        if message["role"] == "assistant" and not (message.get("tool_calls") or (message.get("content") or "").strip()):
            return "the assistant neither says nor calls anything"
    return None


def lot_of(ledger: Ledger, pack: Pack) -> Lot:
    """Where every demonstration stands, by the order in which they came."""
    writing = pack.write_tools()
    said: dict[str, list[Row]] = {}
    for row in read_rows(ledger.decisions):
        said.setdefault(row["id"], []).append(row)
    heard = [_heard(row, said.get(row["id"], []), writing) for row in read_rows(ledger.drafts)]
    looked = [one for one, at_second in heard if at_second]
    refused = sum(one.status == "refused" for one in looked)
    settings, share = pack.settings.quality, pack.settings.week_zero.review
    if len(looked) >= _ENOUGH and refused / len(looked) > settings.audit_defective_share:
        share = 1.0
    drawn = _drawn(heard, share)
    standings = [one._replace(status="counts") if one.status == "second" and not (one.writes or one.row["id"] in drawn) else one
                 for one, _ in heard]  # fmt: skip
    return Lot(standings, share, len(looked), refused)


def decide(ledger: Ledger, pack: Pack, wanted: str, *, by: str, accept: bool) -> Standing:
    """A person accepts or refuses a demonstration; where it stands afterwards. Twice the same is once, and one that counts may be refused.

    Raises FlywheelError when nobody is named, it was refused before, or the person made it or accepted it before.
    """
    by = by.strip()
    if not by:
        raise FlywheelError("nobody is named", where="--by", remedy="say who looked at it")
    one = _standing(ledger, pack, wanted)
    if any(row["id"] == wanted and row["by"] == by and row["accept"] == accept for row in read_rows(ledger.decisions)):
        return one
    if one.status == "refused":
        raise FlywheelError("it was refused before", where=wanted, remedy="have it written anew")
    if accept and one.second:
        return one
    if not may_look(one, by):
        raise FlywheelError(f"{by} made or accepted it: a second person looks at it", where=wanted,
                            remedy="have another person look")  # fmt: skip
    add_row(ledger.decisions, {"id": wanted, "by": by, "accept": accept, "at": datetime.now(UTC).isoformat()})
    return _standing(ledger, pack, wanted)


def may_look(one: Standing, by: str) -> bool:
    """Whether a person may be the next to look at it: neither its author nor who accepted it first."""
    return not any(same_person(by, name) for name in (one.first, one.row["annotator"]) if name)


def write_counting(ledger: Ledger, lot: Lot) -> bool:
    """Write the demonstrations that count into the pack; whether the file changed."""
    rows = [_counting(one) for one in lot.of("counts")]
    if rows == read_rows(ledger.counting):
        return False
    write_rows(ledger.counting, rows)
    return True


def forget(ledger: Ledger, principal_ref: str, trace_ids: Sequence[str]) -> int:
    """Take a person's runs, and what was shown for their requests, out of the ledger, the teacher's files and the pack; lines removed."""
    removed, gone = 0, set(trace_ids)
    theirs = {row["id"] for row in read_rows(ledger.drafts) if _of(row, principal_ref, gone)}
    # The drafts last: they tell which decisions are about the person, also to a run that follows one that was killed.
    others = (ledger.decisions, ledger.counting, *sorted(ledger.drafts.parent.glob("taught*.jsonl")))
    for file in (*others, ledger.drafts):
        rows = read_rows(file)
        kept = [row for row in rows if row.get("id") not in theirs and not _of(row, principal_ref, gone)]
        if len(kept) < len(rows):
            write_rows(file, kept)
            removed += len(rows) - len(kept)
    return removed + forget_prompts(ledger.counting.parent.parent / TASKS, gone)


def _of(row: Row, principal_ref: str, trace_ids: set[str]) -> bool:
    asked = trace_of((row.get("teacher") or {}).get("task", ""))
    return row.get("principal_ref") == principal_ref or row.get("trace_id") in trace_ids or asked in trace_ids


def _standing(ledger: Ledger, pack: Pack, wanted: str) -> Standing:
    found = next((one for one in lot_of(ledger, pack).standings if one.row["id"] == wanted), None)
    if found is None:
        raise FlywheelError(f"there is no demonstration {wanted!r}", where=str(ledger.drafts),
                            remedy=f"see what waits: flywheel bootstrap {pack.name}")  # fmt: skip
    return found


def _heard(row: Row, decisions: Sequence[Row], writing: set[str]) -> tuple[Standing, bool]:
    """Where a demonstration stands before the share is drawn, and whether a second person looked at it."""
    first = f"verifier_{row['verifier']}" if row.get("verifier") else None
    if first is None and row["source"] == "person":
        first = row["annotator"]
    second, refused, looked = None, False, False
    for decision in decisions:
        at_second = first is not None
        if decision["accept"] and first and any(same_person(decision["by"], own) for own in (first, row["annotator"])):
            continue  # another spelling of a name is no second person
        looked |= at_second
        if not decision["accept"]:
            refused = True
            break
        if at_second:
            second = second or decision["by"]
        else:
            first = decision["by"]
    status: Status = "refused" if refused else "first" if first is None else "counts" if second else "second"
    place = cell_of_run(row["messages"], row["trains_from"], writing)
    writes = changes_state(row["messages"], row["trains_from"], writing)
    return Standing(row, place, writes, status, first, second), looked


def _drawn(heard: Sequence[tuple[Standing, bool]], share: float) -> set[str]:
    """Ids that wait for a second person so that the share is looked at: of those that write nothing, the smallest ids first.

    Ids are hashes of the content, so nobody chooses which are drawn; what was looked at already counts towards the share.
    """
    lot = [(one, looked) for one, looked in heard if one.first is not None and not one.writes]
    wanted = math.ceil(round(share * len(lot), 9)) - sum(looked for _, looked in lot)
    open_ids = sorted(one.row["id"] for one, looked in lot if not looked)
    return set(open_ids[: max(0, wanted)])


def _counting(one: Standing) -> Row:
    """A line of the pack's demonstrations: who made it, who accepted it, and under which QA mode."""
    row = {key: value for key, value in one.row.items() if key not in ("at", "verifier", "task", "effort")}
    people = [name for name in (one.first, one.second) if name and not same_person(name, row["annotator"])]
    made_by_person = row["source"] == "person"
    if one.second or (people and not one.row.get("verifier")):
        mode = "two"
    else:
        mode = "sampled" if made_by_person else "verifier"
    return {**row, "reviewer": ", ".join(people), "qa_mode": mode}
