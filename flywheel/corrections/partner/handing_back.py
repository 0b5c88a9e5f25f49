"""A part of the return, written from what is done at the bench: what no earlier part sent, sealed, signed where that is asked, and judged.

The judge is the house's own. A line it refuses is left out and told; a part appears whole or not at all.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flywheel.corrections.handoff.verify import ATTEST_SCHEMA, QUESTION_SCHEMA, ed25519
from flywheel.corrections.handoff.verify.command import seal
from flywheel.corrections.handoff.verify.judge import judge
from flywheel.corrections.handoff.verify.strict import sha256_of
from flywheel.corrections.partner.asking import Asking
from flywheel.corrections.partner.opened import Opened
from flywheel.corrections.partner.rows import Line, lines_of, pseudonym
from flywheel.corrections.states import Event, fold
from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json


class Waiting(NamedTuple):
    """What no part has sent yet.

    Attributes:
        decided: answers that the partner's own people are done with.
        unreviewed: answers that nobody of theirs reviewed; the house would.
        open: items without an answer that could be sent.
        sent: items that a part holds as they stand now.
        questions: what was asked and no part holds.
    """

    decided: list[Line]
    unreviewed: list[Line]
    open: int
    sent: int
    questions: list[dict[str, Any]]


class Part(NamedTuple):
    """A written part: how many lines of which kind, how many questions, the findings that kept lines out, and whether nothing is missing.

    `folder` is None where every line was left out.
    """

    folder: Path | None
    corrections: int
    unfixable: int
    decisions: int
    questions: int
    left_out: list[dict[str, Any]]
    complete: bool


def waiting(opened: Opened) -> Waiting:
    """What the next part would hold."""
    events = [entry.event for entry in opened.store.history(opened.batch.name) if entry.event.item_id]
    lines = lines_of(opened.handed, events)
    before = _sent(opened)
    fresh = [line for line in lines if line.digest not in before or not _known(line, before)]
    decided = [line for line in fresh if line.decided]
    unreviewed = [line for line in fresh if not line.decided]
    recalled = opened.handed.letters.recalled
    left = sum(item_id not in recalled for item_id in opened.items) - len(lines)
    return Waiting(decided, unreviewed, left, len(lines) - len(fresh), _questions(opened, events))


def write_part(opened: Opened, *, unreviewed: bool = False, handling: str = "", deletion: str = "") -> Part | None:
    """Write the next part below `returns`; None when there is nothing new to send.

    Args:
        unreviewed: send what nobody reviewed, too: the house's reviewers look at it.
        handling, deletion: how personal data was handled, and the day everything is deleted: both make the attestation.

    Raises FlywheelError when the returns must be signed and no fitting key was named; nothing is written then.
    """
    key = signing_key(opened)
    found = waiting(opened)
    lines = [*found.decided, *(found.unreviewed if unreviewed else [])]
    if not lines and not found.questions:
        return None
    complete = not found.open and (unreviewed or not found.unreviewed)
    opened.returns.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(path.name[5:]) for path in _parts(opened)), default=0)
    with tempfile.TemporaryDirectory(dir=opened.returns, prefix=".writing-") as made:
        folder = Path(made) / f"part-{number:03d}"
        folder.mkdir()
        attest = _attest(opened, handling, deletion)
        counts = _fill(folder, lines, found.questions, attest, opened, number, complete, key)
        mine = {line.item_id for line in lines}
        # V04: what lies in an earlier part is not missing.
        left_out = [one for one in judge(folder, opened.handed).report["findings"]
                    if one["item_id"] in mine and one["class"] != "minor" and one["rule_id"] != "V04"]  # fmt: skip
        if left_out:
            lines = [line for line in lines if line.item_id not in {one["item_id"] for one in left_out}]
            complete = False
            counts = _fill(folder, lines, found.questions, attest, opened, number, complete, key)
        if lines or found.questions:
            os.replace(folder, opened.returns / folder.name)
    written = opened.returns / f"part-{number:03d}" if lines or found.questions else None
    return Part(written, *counts, len(found.questions), left_out, complete)


def signing_key(opened: Opened) -> Ed25519PrivateKey | None:
    """The partner's key where the batch asks for signed returns; raises FlywheelError when it is missing or another one."""
    asked = opened.handed.manifest.get("partner_public_key")
    if not asked:
        return None
    who, kept = opened.handed.manifest["partner"], f"what was corrected is kept in {opened.work}"
    if opened.key is None:
        raise FlywheelError(f"returns of this batch must be signed with the key of {who}, and none was named", where=opened.folder.name,
                            remedy=f"add --key KEY.pem, or let whoever holds it write the part; {kept}")  # fmt: skip
    try:
        key = serialization.load_pem_private_key(opened.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise FlywheelError("that is no unencrypted Ed25519 private key in PEM form", where=str(opened.key),
                            remedy=f"name the file that openssl genpkey -algorithm ed25519 wrote; {kept}")  # fmt: skip
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    if public != ed25519.public_key(asked.encode()):
        raise FlywheelError(f"that is not the key {who} gave the house for this batch", where=str(opened.key),
                            remedy=f"name the other half of the public key in the batch's manifest.json; {kept}")  # fmt: skip
    return key


def _parts(opened: Opened) -> list[Path]:
    found = opened.returns.glob("part-*") if opened.returns.is_dir() else []
    return sorted(path for path in found if path.is_dir() and path.name[5:].isdecimal())


def _sent(opened: Opened) -> set[str]:
    """Hashes of all answers and decisions that lie in a part."""
    sent: set[str] = set()
    for part in _parts(opened):
        for name in ("corrections.jsonl", "unfixable.jsonl", "decisions.jsonl"):
            sent.update(sha256_of(row) for row in _read(part / name))
    return sent


def _questions(opened: Opened, events: list[Event]) -> list[dict[str, Any]]:
    """What no part asked yet; that somebody saw personal data in an item is told in the same way."""
    if "question" not in opened.handed.schemas:
        return []  # handed out before there were questions
    sent = {row["question_id"] for part in _parts(opened) for row in _read(part / "questions.jsonl")}
    seen = [
        {"schema_version": QUESTION_SCHEMA, "question_id": sha256_of([opened.handed.sha256, event.item_id, event.kind])[:16],
         "item_id": event.item_id, "actor_ref": pseudonym(event.actor), "asked_at": event.at,
         "text": "Somebody here saw personal data in this item; it is kept away from everybody."}
        for event in events if event.kind == "report_privacy" and event.actor != "system"
    ]  # fmt: skip
    return [row for row in [*Asking(opened).rows(), *seen] if row["question_id"] not in sent]


def _read(file: Path) -> Iterator[dict[str, Any]]:
    if file.is_file():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip())


def _known(line: Line, sent: set[str]) -> bool:
    """Whether the decisions about an answer were sent as well."""
    return all(sha256_of(decision) in sent for decision in line.decisions)


def _fill(
    folder: Path, lines: list[Line], questions: list[dict[str, Any]], attest: dict[str, Any] | None, opened: Opened, number: int,
    complete: bool, key: Ed25519PrivateKey | None,
) -> tuple[int, int, int]:  # fmt: skip
    """The files of a part; answers that lie in an earlier one are not sent twice, decisions name their hash. Returns rows of each."""
    before = _sent(opened)
    fresh = [line for line in lines if line.digest not in before]
    decisions = [one for line in lines for one in line.decisions if sha256_of(one) not in before]
    counts = (
        _write(folder / "corrections.jsonl", [line.row for line in fresh if line.kind == "correction"]),
        _write(folder / "unfixable.jsonl", [line.row for line in fresh if line.kind == "unfixable"]),
        _write(folder / "decisions.jsonl", decisions),
    )
    if questions:
        _write(folder / "questions.jsonl", questions)
    if attest:
        (folder / "attest.json").write_text(json.dumps(attest, indent=1) + "\n", encoding="utf-8")
    seal(folder, opened.handed, number, complete)
    if key is not None:
        (folder / "manifest.sig").write_bytes(key.sign((folder / "manifest.json").read_bytes()))
    return counts


def _write(file: Path, rows: list[dict[str, Any]]) -> int:
    file.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")
    return len(rows)


def _attest(opened: Opened, handling: str, deletion: str) -> dict[str, Any] | None:
    """Who did what, with how personal data was handled and when everything is deleted; None before both are said."""
    if not handling.strip() or not deletion.strip():
        return None
    by_item: dict[str, list[Any]] = {}
    for entry in opened.store.history(opened.batch.name):
        if entry.event.item_id:
            by_item.setdefault(entry.event.item_id, []).append(entry.event)
    roles: dict[str, set[str]] = {}
    for state in map(fold, by_item.values()):
        held = [("annotator", state.annotator), ("adjudicator", state.adjudicator)]
        for role, name in [*held, *(("reviewer", one) for one in state.reviewers)]:
            if name:
                roles.setdefault(pseudonym(name), set()).add(role)
    staff = [{"actor_ref": name, "roles": sorted(held)} for name, held in sorted(roles.items())]
    return {"schema_version": ATTEST_SCHEMA, "pii_handling": handling.strip()[:10_000], "deletion_date": deletion.strip()[:200],
            "staff": staff}  # fmt: skip
