"""One part of a return (a daily slice): its manifest, its files and their lines, with what is wrong about them."""

from pathlib import Path
from typing import Any, NamedTuple

from . import RETURN_SCHEMA, ed25519
from .batch import Batch
from .folder import HostileName, Unreadable, checked, lines, read
from .rules import finding
from .schema import check_value
from .strict import NotStrict, parse, sha256

KINDS = {"corrections.jsonl": "correction", "decisions.jsonl": "decision", "unfixable.jsonl": "unfixable",
         "questions.jsonl": "question"}  # fmt: skip
MAXIMUM_LINE = 4 * 1024 * 1024


class Line(NamedTuple):
    """One readable line: file and number, and the object."""

    place: str
    row: dict[str, Any]


class Part(NamedTuple):
    """A part as read. With a critical finding its lines are not used, and `lines` is empty.

    Attributes:
        name: what the report calls it.
        number: its number; parts are judged in this order.
        complete: whether the partner says that nothing is missing now.
        lines: kind (correction, decision, unfixable, question) -> lines.
        attested: whether attest.json is there and right.
        findings: about the part and about lines that could not be read.
    """

    name: str
    number: int
    complete: bool
    sha256: str
    lines: dict[str, list[Line]]
    attested: bool
    findings: list[dict[str, Any]]


def read_part(folder: Path, batch: Batch, known_as: str | None = None) -> Part:
    """Read one part folder. Never raises for what is in it.

    Args:
        known_as: its name in the report; by its number when None, as a part judged alone may lie anywhere on either side.
    """
    name, text = known_as or "part", b""
    try:
        text = read(folder, "manifest.json")
        manifest = parse(text)
        number, complete, files = manifest["part"], manifest["complete"], manifest["files"]
        wrong = check_value(batch.schemas["return"], manifest)
        if wrong:
            raise NotStrict(f"{wrong[0].path or 'manifest.json'}: got {wrong[0].got}, expected {wrong[0].expected}")
    except HostileName as error:
        return _refused(name, 0, "", finding("V16", part=name, path="manifest.json", got=str(error)))
    except (NotStrict, Unreadable, KeyError, TypeError) as error:
        digest = sha256(text) if text else ""
        return _refused(name, 0, digest, finding("V20", part=name, path="manifest.json", got=str(error),
                                                expected=f"a manifest of schema {RETURN_SCHEMA}"))  # fmt: skip
    name = known_as or f"part-{number:03d}"
    if manifest["parent_batch_sha256"] != batch.sha256:
        wrong_batch = finding("V17", part=name, path="manifest.json/parent_batch_sha256", got=manifest["parent_batch_sha256"],
                              expected=batch.sha256)  # fmt: skip
        return _refused(name, number, sha256(text), wrong_batch)
    unsigned = _signature(folder, text, batch, name)
    if unsigned:
        return _refused(name, number, sha256(text), unsigned)
    contents, damage = _contents(folder, files, name)
    if damage:
        return Part(name, number, complete, sha256(text), {kind: [] for kind in KINDS.values()}, False, damage)
    found: list[dict[str, Any]] = []
    rows = {kind: _lines(contents.get(file, b""), file, kind, batch, name, found) for file, kind in KINDS.items()}
    return Part(name, number, complete, sha256(text), rows, _attested(contents, batch), found)


def _refused(name: str, number: int, digest: str, why: dict[str, Any]) -> Part:
    return Part(name, number, False, digest, {kind: [] for kind in KINDS.values()}, False, [why])


def _signature(folder: Path, text: bytes, batch: Batch, name: str) -> dict[str, Any] | None:
    """What is wrong with the partner's signature; it is only asked for when a key of theirs stands in the batch."""
    pem = batch.manifest.get("partner_public_key")
    if not pem:
        return None
    key = ed25519.public_key(pem.encode())
    try:
        signature = read(folder, "manifest.sig", limit=64)
    except (HostileName, Unreadable) as error:
        return finding("V02", part=name, path="manifest.sig", got=str(error))
    if key is None or not ed25519.verify(key, text, signature):
        return finding("V02", part=name, path="manifest.sig", got="a signature of something else or by somebody else")
    return None


def _contents(folder: Path, files: dict[str, Any], name: str) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    contents: dict[str, bytes] = {}
    damage = []
    for file, facts in files.items():
        try:
            data = read(folder, checked(file))
        except HostileName as error:
            damage.append(finding("V16", part=name, path="manifest.json/files", got=f"{file!r}: {error}"[:200]))
            continue
        except Unreadable as error:
            damage.append(finding("V01", part=name, path=file, got=str(error), expected="the file the manifest lists"))
            continue
        rows = len(lines(data)) if file.endswith(".jsonl") else None
        got = {"sha256": sha256(data), "bytes": len(data), "rows": rows}
        for key, value in got.items():
            if facts[key] != value:
                damage.append(
                    finding("V01", part=name, path=f"{file} ({key})", got=str(value), expected=str(facts[key]))
                )
                break
        contents[file] = data
    return contents, damage


def _lines(data: bytes, file: str, kind: str, batch: Batch, part: str, found: list[dict[str, Any]]) -> list[Line]:
    rows = []
    for number, line in enumerate(lines(data), 1):
        place = f"{file}:{number}"
        item = None
        try:
            if len(line) > MAXIMUM_LINE:
                raise NotStrict(f"longer than {MAXIMUM_LINE:,} bytes")
            if kind not in batch.schemas:
                raise NotStrict("this batch was handed out before there were such lines")
            row = parse(line)
            item = row.get("item_id") if isinstance(row, dict) and isinstance(row.get("item_id"), str) else None
            wrong = check_value(batch.schemas[kind], row)
        except NotStrict as error:
            found.append(finding("V15", part=part, path=place, got=str(error)))
            continue
        if wrong:
            first = wrong[0]
            found.append(finding("V15", item=item, part=part, path=f"{place} {first.path}".rstrip(), got=first.got,
                                 expected=first.expected))  # fmt: skip
        else:
            rows.append(Line(place, row))
    return rows


def _attested(contents: dict[str, bytes], batch: Batch) -> bool:
    try:
        return not check_value(batch.schemas["attest"], parse(contents["attest.json"]))
    except (NotStrict, KeyError):
        return False
