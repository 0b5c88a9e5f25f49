"""Questions to the house and its answers, as the people at the bench see them.

Questions are kept beside the work and leave with the next part; answers come back as signed letters with the batch.
"""

import json
import os
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flywheel.corrections.handoff.verify import QUESTION_SCHEMA
from flywheel.corrections.handoff.verify.personal import added, masked, texts_of
from flywheel.corrections.partner.opened import Opened
from flywheel.corrections.partner.rows import pseudonym
from flywheel.corrections.workbench.rules import Refusal
from flywheel.toolcalls.arguments import canonical_json, sha256_of

LONGEST = 4_000


class Asked(NamedTuple):
    """A question, and its answer where there is one.

    Attributes:
        item_id: what it is about; None for the whole batch.
        answer, answered_by: empty while nobody answered.
    """

    item_id: str | None
    text: str
    asked_at: str
    answer: str
    answered_by: str


class Asking:
    """What was asked and answered about an opened batch."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self._file = opened, opened.work / "questions.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """What was asked here, as lines of questions.jsonl."""
        if not self._file.is_file():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").split("\n") if line.strip()]

    def ask(self, actor: str, item_id: str | None, text: str) -> None:
        """Keep a question for the next part; raises Refusal W07, W12 or W15 for a strange item, no words, or too many."""
        text = text.strip()
        if not text:
            raise Refusal("W12", "a question has words")
        if len(text) > LONGEST:
            raise Refusal("W15", f"a question has at most {LONGEST:,} characters")
        if item_id is not None and item_id not in self._opened.items:
            raise Refusal("W07", item_id[:80])
        known = texts_of(self._opened.items[item_id].messages) if item_id else []
        found = next(iter(added([text], known)), None)
        if found:
            raise Refusal("W12", f"one without personal data ({masked(*found)})", remedy="ask without that")
        moment = datetime.now(UTC).isoformat()
        number = sha256_of([self._opened.handed.sha256, item_id, actor, moment, text])[:16]
        row = {"schema_version": QUESTION_SCHEMA, "question_id": number, "item_id": item_id, "actor_ref": pseudonym(actor),
               "asked_at": moment, "text": text}  # fmt: skip
        with self._file.open("a", encoding="utf-8") as file:
            file.write(canonical_json(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def everything(self) -> list[Asked]:
        """Questions asked here, then answers to what others asked; the newest last."""
        answers = {one["question_id"]: one for one in self._opened.handed.letters.answers}
        mine = [self._shown(row["item_id"], row["text"], row["asked_at"], answers.pop(row["question_id"], None)) for row in self.rows()]  # fmt: skip
        others = [self._shown(one.get("item_id"), one["question"], one["at"], one) for one in answers.values()]
        return sorted([*mine, *others], key=lambda asked: asked.asked_at)

    def about(self, item_id: str) -> list[Asked]:
        """What was asked about an item."""
        return [asked for asked in self.everything() if asked.item_id == item_id]

    @staticmethod
    def _shown(item_id: str | None, text: str, at: str, answer: dict[str, Any] | None) -> Asked:
        return Asked(item_id, text, at, answer["text"] if answer else "", answer["by"] if answer else "")
