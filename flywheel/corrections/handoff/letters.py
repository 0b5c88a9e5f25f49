"""The house's side of a hand-off's correspondence: questions that came with returns, and the signed letters that answer them.

Letters also amend the guidelines and call items back. They lie in `qa/handoff/BATCH`, and are copied into each folder in which the
batch travels. Nothing is ever changed or taken away: letters are numbered, chained and signed with the batch's key.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flywheel.corrections.handoff.keys import public_pem
from flywheel.corrections.handoff.verify import ed25519
from flywheel.corrections.handoff.verify.letters import LETTER_SCHEMA, LetterProblem, Letters, name_of, read_letters
from flywheel.corrections.handoff.verify.strict import pretty
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of

REASONS = ("erasure", "poisoning", "guideline_change", "mistake")


def folder_of(qa: Path, batch_id: str) -> Path:
    """Where everything about a handed-out batch lies in the house; `qa` is the QA folder."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", batch_id)[:80].strip("-.")
    return qa / "handoff" / f"{readable}-{sha256_of(batch_id)[:8]}"


class Correspondence:
    """Questions and letters of one batch.

    Args:
        folder: from `folder_of`; made when something is written.
        key: the key that the batch is signed with.
    """

    def __init__(self, folder: Path, batch_id: str, key: Ed25519PrivateKey) -> None:
        self._folder, self._batch, self._key = folder, batch_id, key

    def questions(self) -> list[dict[str, Any]]:
        """What partners asked, in the order it came: lines of questions.jsonl with `partner` and `answered`.

        Raises FlywheelError where a line or a letter cannot be read.
        """
        answered = {one["question_id"] for one in self.letters().answers}
        file = self._folder / "questions.jsonl"
        lines = file.read_text(encoding="utf-8").split("\n") if file.is_file() else []
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows += [{**(row := json.loads(line)), "answered": row["question_id"] in answered}] if line else []
            except (ValueError, KeyError, TypeError):
                raise FlywheelError("a question of a partner cannot be read", where=f"{file}:{number}",
                                    remedy="restore the file from a backup, or take the line out: what is in the returns comes again with the next import") from None  # fmt: skip
        return rows

    def take(self, rows: Iterable[dict[str, Any]], partner: str) -> int:
        """Keep questions of a return; returns how many were not known before."""
        with self._alone():
            known = {one["question_id"] for one in self.questions()}
            fresh = [{**row, "partner": partner} for row in rows if row["question_id"] not in known]
            fresh = list({row["question_id"]: row for row in fresh}.values())
            with (self._folder / "questions.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(canonical_json(row) + "\n" for row in fresh)
        return len(fresh)

    def letters(self) -> Letters:
        """The letters written so far; raises FlywheelError when one was changed."""
        try:
            return read_letters(self._folder, self._batch, ed25519.public_key(public_pem(self._key)) or b"")
        except LetterProblem as problem:
            raise FlywheelError(f"a letter was changed: {problem.rule}: {problem}", where=str(self._folder),
                                remedy="restore the folder from a backup: partners hold the letters as they were") from None  # fmt: skip

    def answer(self, question_id: str, text: str, *, by: str) -> int:
        """Answer a question, named by the beginning of its id; returns the letter's number.

        Raises FlywheelError for one that nobody asked, and for a beginning that several share: a letter cannot be taken back.
        """
        meant = [one for one in self.questions() if question_id and one["question_id"].startswith(question_id)]
        meant = [one for one in meant if one["question_id"] == question_id] or meant
        if not meant:
            raise FlywheelError(f"nobody asked {question_id!r}", where=self._batch, remedy="flywheel batch questions lists what was asked")  # fmt: skip
        if len(meant) > 1:
            ids = ", ".join(one["question_id"] for one in meant)
            raise FlywheelError(f"{question_id!r} is the beginning of {len(meant)} questions: {ids}", where=self._batch,
                                remedy="name one with more of its id")  # fmt: skip
        asked = meant[0]
        said = {"question_id": asked["question_id"], "item_id": asked["item_id"], "question": asked["text"], "text": _words(text),
                "by": by, "at": _now()}  # fmt: skip
        return self._write(by, answers=[said])

    def amend(self, text: str, *, by: str) -> str:
        """Amend the guidelines; returns the version that answers name from then on."""
        version = f"amendment-{len(self.letters().amendments) + 1}"
        self._write(by, amendments=[{"version": version, "text": _words(text), "at": _now()}])
        return version

    def recall(self, item_ids: list[str], reason: str, *, by: str) -> int:
        """Call items back; returns the letter's number."""
        if reason not in REASONS:
            raise FlywheelError(f"{reason!r} is no reason", where=self._batch, remedy=f"use one of: {', '.join(REASONS)}")  # fmt: skip
        moment = _now()
        return self._write(by, recalled=[{"item_id": item_id, "reason": reason, "at": moment} for item_id in item_ids])

    def deliver(self, folder: Path) -> int:
        """Copy the letters into a folder in which the batch travels; returns how many there are, raises FlywheelError for another batch."""
        letters = self.letters()
        try:
            theirs = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["batch_id"]
        except (OSError, ValueError, KeyError, TypeError):
            theirs = None
        if theirs != self._batch:
            raise FlywheelError(f"that is no folder of batch {self._batch}", where=str(folder), remedy="name the folder that flywheel batch export wrote")  # fmt: skip
        for number in range(1, len(letters.all) + 1):
            for name in (
                f"{name_of(number)}.sig",
                name_of(number),
            ):  # the signature first: a letter never stands without it
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                partial = target.with_name(f".{target.name}.{os.getpid()}")
                partial.write_bytes((self._folder / name).read_bytes())
                os.replace(partial, target)
        return len(letters.all)

    def _write(self, by: str, **what: list[dict[str, Any]]) -> int:
        with self._alone():
            before = self.letters()
            number = len(before.all) + 1
            letter = {"schema_version": LETTER_SCHEMA, "batch_id": self._batch, "number": number, "previous_sha256": before.head,
                      "at": _now(), "by": by, "answers": [], "amendments": [], "recalled": [], **what}  # fmt: skip
            text = pretty(letter)
            file = self._folder / name_of(number)
            file.parent.mkdir(exist_ok=True)
            file.with_name(f"{file.name}.sig").write_bytes(self._key.sign(text))
            partial = file.with_name(f".{file.name}")
            partial.write_bytes(text)
            os.replace(partial, file)
            return number

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _words(text: str) -> str:
    if not text.strip():
        raise FlywheelError("there is nothing in it", remedy="say it in a sentence or more")
    return text.strip()[:20_000]


def _now() -> str:
    return datetime.now(UTC).isoformat()
