"""What house and partners said to each other about handed-out batches, for `flywheel audit`: proved by the batches' key where it is signed.

Letters hold who wrote them. A statement does not say who took the return in, for it goes to the partner: `acts.jsonl` does. Questions are
the partner's own and not signed by the house; one that was answered stands in a signed letter too.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flywheel.corrections.handoff.keys import KEY_FILE, signing_key
from flywheel.corrections.handoff.letters import Correspondence, folder_of
from flywheel.corrections.handoff.statement import kept_statements
from flywheel.corrections.stores import has_store, open_store
from flywheel.errors import FlywheelError
from flywheel.operations.act_log import Act, moment
from flywheel.settings import Settings
from flywheel.workflows.loader import known_workflows

_SHOWN = 200


class Said(NamedTuple):
    """Acts of all hand-offs; which signatures were proved, a sentence; and what nobody recorded, or is gone."""

    acts: list[Act]
    proved: list[str]
    unrecorded: list[str]


def partners_acts(settings: Settings, recorded: list[dict[str, Any]]) -> Said:
    """Letters, questions and statements of every handed-out batch; raises FlywheelError where a signed one was changed or left out.

    Args:
        recorded: lines of the act log, in which the statements' authors stand.
    """
    place = settings.home / "qa" / "handoff"
    folders = {folder.name for folder in place.iterdir() if folder.is_dir()} if place.is_dir() else set()
    if not folders:
        return Said([], [], _gone(recorded, set()))
    keys = settings.home / "qa" / "keys"
    if not (keys / KEY_FILE).is_file():  # opening it would make another
        raise FlywheelError("letters and statements cannot be proved: the key that signed them is gone", where=str(keys / KEY_FILE),
                            remedy="restore it from a backup")  # fmt: skip
    key, acts, counts = signing_key(keys), [], [0, 0]
    authors = {one["subject_sha256"]: one["by"] for one in reversed(recorded) if one["act"] == "statement"}
    seen: set[str] = set()
    for workflow in known_workflows(settings.workflows()):
        for batch in open_store(settings, workflow).batches() if has_store(settings, workflow) else ():
            folder = folder_of(settings.home / "qa", batch.name)
            if folder.name not in folders:
                continue
            folders.discard(folder.name)
            where = f"batch of week {batch.week}"
            letters = Correspondence(folder, batch.name, key)
            acts += [*_questions(letters, workflow, where), *_letters(letters, workflow, where)]
            statements = kept_statements(folder, key)
            for statement, sha256 in statements:
                seen.add(sha256)
                acts.append(_statement(statement, authors.get(sha256, "not recorded"), workflow, where))
            counts = [counts[0] + len(letters.letters().all), counts[1] + len(statements)]
    proved = [f"{counts[0]} letters and {counts[1]} statements to partners: the signatures hold"]
    strange = [f"qa/handoff/{name} belongs to no batch of a known workflow, and was not read" for name in sorted(folders)]  # fmt: skip
    return Said(acts, proved, [*strange, *_gone(recorded, seen)])


def _gone(recorded: list[dict[str, Any]], seen: set[str]) -> list[str]:
    """Statements that somebody signed and that lie nowhere any more."""
    return [
        f"{one['what']} was signed by {one['by']} on {one['at'][:10]}, and is not kept any more"
        for one in recorded
        if one["act"] == "statement" and one["subject_sha256"] not in seen
    ]


def _questions(letters: Correspondence, workflow: str, where: str) -> Iterator[Act]:
    for one in letters.questions():
        what = f"question {one['question_id']} about {_about(one['item_id'])}, {where}"
        by = f"{one['partner']}/{one['actor_ref']}"
        yield Act(moment(one["asked_at"]), by, "question", workflow, what, _short(one["text"]), "qa/handoff, not signed")  # fmt: skip


def _letters(letters: Correspondence, workflow: str, where: str) -> Iterator[Act]:
    for letter in letters.letters().all:
        by, at, name = str(letter["by"]), moment(letter["at"]), f"letter {letter['number']}, {where}"
        for one in letter["answers"]:
            what = f"{name}: answers question {one['question_id']} about {_about(one.get('item_id'))}"
            yield Act(at, by, "answer", workflow, what, _short(one["text"]), "qa/handoff, signed")
        for one in letter["amendments"]:
            yield Act(at, by, "amend", workflow, f"{name}: {one['version']} of the guidelines", _short(one["text"]), "qa/handoff, signed")  # fmt: skip
        for reason in sorted({one["reason"] for one in letter["recalled"]}):
            items = [one["item_id"] for one in letter["recalled"] if one["reason"] == reason]
            yield Act(at, by, "recall", workflow, f"{name}: calls {len(items)} items back: {', '.join(items)}", reason, "qa/handoff, signed")  # fmt: skip


def _statement(statement: dict[str, Any], by: str, workflow: str, where: str) -> Act:
    billable, slice_ = statement["billable"], statement["slice"]
    part = f", slice {slice_['number']}" if slice_ else ""
    amount = "no amount" if billable["amount"] is None else f"{billable['amount']:.2f}"
    what = (
        f"statement {statement['number']} to {statement['partner']}, {where}{part}: "
        f"{statement['accepted']['items']} of {statement['items']} items accepted, {billable['items']} billable, {amount}"
    )
    return Act(moment(statement["at"]), by, "statement", workflow, what, "", "qa/handoff, signed")


def _about(item_id: str | None) -> str:
    return f"item {item_id}" if item_id else "the whole batch"


def _short(text: str) -> str:
    said = " ".join(text.split())
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
