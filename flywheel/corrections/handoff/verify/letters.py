"""Letters from the house about a batch: answers to questions, amendments of the guidelines, items that are called back.

A batch never changes; what is said about it later stands beside it in `letters/`. Each letter is signed with the batch's key and holds
the hash of the one before, so that none can be changed, added by others, or left out between two.
"""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from . import ed25519
from .folder import HostileName, Unreadable, read
from .strict import NotStrict, parse, sha256

LETTER_SCHEMA = "letter/1"
FOLDER = "letters"
_NAME = re.compile(r"letter-(\d{3})\.json")
_FIELDS = {
    "answers": ("question_id", "question", "text", "by", "at"),
    "amendments": ("version", "text", "at"),
    "recalled": ("item_id", "reason", "at"),
}


class LetterProblem(ValueError):
    """A letter cannot be read or proved; `rule` is the rule's number."""

    def __init__(self, rule: str, what: str) -> None:
        self.rule = rule
        super().__init__(what)


class Letters(NamedTuple):
    """The letters of a batch in order, and the hash of the last one; empty where there is none."""

    all: list[dict[str, Any]]
    head: str

    def versions(self, first: str) -> list[str]:
        """The guidelines' versions that may be worked by: the batch's own, and each amended one; the last is in force."""
        return [first, *(one["version"] for letter in self.all for one in letter["amendments"])]

    @property
    def amendments(self) -> list[dict[str, Any]]:
        """{version, text, at} of each amendment."""
        return [one for letter in self.all for one in letter["amendments"]]

    @property
    def answers(self) -> list[dict[str, Any]]:
        """{question_id, item_id, question, text, by, at} of each answer; item_id is None for a question about the whole batch."""
        return [one for letter in self.all for one in letter["answers"]]

    @property
    def recalled(self) -> dict[str, dict[str, Any]]:
        """Item id -> {item_id, reason, at} of what was called back."""
        return {one["item_id"]: one for letter in self.all for one in letter["recalled"]}


def name_of(number: int) -> str:
    """File of a letter inside the batch folder."""
    return f"{FOLDER}/letter-{number:03d}.json"


def read_letters(folder: Path, batch_id: str, key: bytes) -> Letters:
    """The letters beside a batch; raises LetterProblem at the first that is damaged, missing, or by somebody else.

    Args:
        key: the Ed25519 public key that the batch is signed with.
    """
    place = folder / FOLDER
    found = sorted(int(name[1]) for entry in (os.listdir(place) if place.is_dir() else []) if (name := _NAME.fullmatch(entry)))  # fmt: skip
    letters: list[dict[str, Any]] = []
    head = ""
    for number in range(1, (found[-1] if found else 0) + 1):
        text = _proved(folder, number, key)
        letter = _letter(text, number)
        if letter["batch_id"] != batch_id:
            raise LetterProblem("V17", f"letter {number} is about another batch")
        if letter["number"] != number or letter["previous_sha256"] != head:
            raise LetterProblem("V01", f"letter {number} does not follow the one before it")
        letters.append(letter)
        head = sha256(text)
    return Letters(letters, head)


def _proved(folder: Path, number: int, key: bytes) -> bytes:
    name = name_of(number)
    try:
        text, signature = read(folder, name), read(folder, f"{name}.sig", limit=64)
    except HostileName as error:
        raise LetterProblem("V16", str(error)) from None
    except Unreadable as error:
        raise LetterProblem("V01", str(error)) from None
    if not ed25519.verify(key, text, signature):
        raise LetterProblem("V02", f"letter {number} is not signed with the batch's key")
    return text


def _letter(text: bytes, number: int) -> dict[str, Any]:
    try:
        letter = parse(text)
        if letter["schema_version"] != LETTER_SCHEMA:
            raise NotStrict(f"it is a {ascii(letter['schema_version'])[:40]}")
        for kind, names in _FIELDS.items():
            for one in letter[kind]:
                if not all(isinstance(one[name], str) for name in names):
                    raise NotStrict(f"{kind}: {', '.join(names)} are texts")
        return letter
    except (NotStrict, KeyError, TypeError) as error:
        raise LetterProblem("V15", f"letter {number} cannot be read: {error}"[:200]) from None
