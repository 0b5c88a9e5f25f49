"""Handing a batch out: a signed folder that holds everything a partner needs, and freezes the batch.

Exporting again gives the same bytes, signature included (Ed25519 is deterministic), and changes nothing.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flywheel.corrections.batches import exported
from flywheel.corrections.events import Batch, EventStore
from flywheel.corrections.handoff import schemas
from flywheel.corrections.handoff.keys import public_pem, signing_key
from flywheel.corrections.handoff.manifest import manifest_of
from flywheel.corrections.handoff.readme import readme
from flywheel.corrections.handoff.slices import sliced
from flywheel.corrections.handoff.verify import ITEM_SCHEMA, ed25519
from flywheel.corrections.handoff.verify.answers import FILE as RESPONSES
from flywheel.corrections.handoff.verify.personal import found_in, texts_of
from flywheel.corrections.handoff.verify.schema import problem_of
from flywheel.corrections.handoff.verify.strict import pretty, sha256, sha256_of
from flywheel.corrections.handoff.zipapp import verify_zipapp
from flywheel.corrections.items import Item, first_pass_items
from flywheel.corrections.skills import tagged
from flywheel.errors import FlywheelError
from flywheel.lake import Lake
from flywheel.toolcalls.arguments import canonical_json
from flywheel.toolcalls.schema_check import schema_problem
from flywheel.workflows.pack import Pack


class Exported(NamedTuple):
    """What was handed out.

    Attributes:
        folder: where it lies.
        fingerprint: of the signing key, to be told to the partner by another way.
        manifest_sha256: what returns name as their parent.
        items: how many.
        held_back: items with something like personal data left in them (item id, kinds); they were not exported.
        unusable: tools no call of which can be checked, with the reason.
        left_to_us: structured answers that the partner's judge does not check, with the reason; the house does when they come back.
    """

    folder: Path
    fingerprint: str
    manifest_sha256: str
    items: int
    held_back: list[tuple[str, list[str]]]
    unusable: dict[str, str]
    left_to_us: dict[str, str]


def export(
    store: EventStore, lake: Lake, pack: Pack, batch: Batch, out: Path, *, keys: Path, partner: str,
    partner_key: Path | None = None, due_at: str | None = None,
) -> Exported:  # fmt: skip
    """Write the batch into `out` and freeze it; raises FlywheelError, and then nothing was written.

    Args:
        out: a folder that is absent, empty, or holds this very export.
        keys: folder of the installation's signing key.
        partner: short name of who gets it; their people are called partner/person in the store.
        partner_key: PEM public key their returns must be signed with; None asks for no signature.
    """
    return export_slices(store, lake, pack, batch, [out], keys=keys, partner=partner, partner_key=partner_key, due_at=due_at)[0]  # fmt: skip


def export_slices(
    store: EventStore, lake: Lake, pack: Pack, batch: Batch, outs: list[Path], *, keys: Path, partner: str,
    partner_key: Path | None = None, due_at: str | None = None,
) -> list[Exported]:  # fmt: skip
    """Write the batch as one signed folder for each of `outs`, each with its share of the items (slices.py); else as `export`."""
    if batch.closed:
        raise FlywheelError(
            "the batch is closed", where=f"{batch.workflow}, week {batch.week}", remedy="export the next one"
        )
    key = signing_key(keys)
    pem = public_pem(key)
    fingerprint = ed25519.fingerprint(ed25519.public_key(pem) or b"")
    tags = pack.settings.skills
    items, held_back = _clean(list(tagged({item.item_id: item for item in first_pass_items(lake, batch, store)}, tags).values()))  # fmt: skip
    twins = [(str(payload["source"]), item_id) for _, item_id, payload in store.planted(batch.name) if payload["kind"] == "overlap"]  # fmt: skip
    made: list[tuple[Path, dict[str, bytes], Exported]] = []
    for number, (out, mine) in enumerate(zip(outs, sliced(items, twins, len(outs)), strict=True), 1):
        files, unusable = _files(mine, pack)
        left_to_us = {one.name: problem for one in pack.responses if (problem := problem_of(one.schema))}
        manifest = manifest_of(
            batch=batch.name, workflow=batch.workflow, week=batch.week, version=batch.version, qa_mode=batch.qa_mode,
            opened_at=batch.opened_at, due_at=due_at, partner=partner, partner_public_key=_partner_pem(partner_key),
            key_fingerprint=fingerprint, guidelines=pack.guidelines, redaction=pack.settings.privacy.redact, items=mine,
            held_back=len(held_back), files=files,
        )  # fmt: skip
        if len(outs) > 1:
            manifest["slice"] = {"number": number, "of": len(outs)}
        if pack.responses:
            manifest["responses"] = {one.name: sha256_of(one.schema) for one in pack.responses}
        text = pretty(manifest)
        files |= {"manifest.json": text, "manifest.sig": key.sign(text), "public_key.pem": pem}
        made.append((out, files, Exported(out, fingerprint, sha256(text), len(mine), held_back, unusable, left_to_us)))
    for out, files, _ in made:
        _check_free(out, files)
    for out, files, _ in made:
        _write(out, files)
    for _, _, done in made:
        store.export_batch(batch.name, done.manifest_sha256)
    return [done for _, _, done in made]


def item_row(item: Item) -> dict[str, Any]:
    """An item as a line of items.jsonl."""
    return {"schema_version": ITEM_SCHEMA, "item_id": item.item_id, "position": item.position,
            "base_sha256": sha256_of(item.messages), "tools_sha256": sha256_of(item.tools), "messages": item.messages,
            "message_index": item.message_index, "failure_cluster": item.failure_cluster, "bucket": item.bucket,
            "severity": item.severity, "picked_because": item.picked_because,
            **({"language": item.language} if item.language else {}), **({"skills": list(item.skills)} if item.skills else {})}  # fmt: skip


def _clean(items: list[Item]) -> tuple[list[Item], list[tuple[str, list[str]]]]:
    """Redaction happened at ingest; a pack may have switched kinds off, so what leaves the house is looked at again."""
    clean, held_back = [], []
    for item in items:
        kinds = sorted({kind for text in texts_of(item.messages) for kind, _ in found_in(text)})
        if kinds:
            held_back.append((item.item_id, kinds))
        else:
            clean.append(item)
    if not clean:
        raise FlywheelError("no item of the batch may leave the house" if items else "the batch has no items",
                            remedy="add the kinds to privacy.redact in workflow.yaml and run collect again")  # fmt: skip
    return clean, held_back


def _files(items: list[Item], pack: Pack) -> tuple[dict[str, bytes], dict[str, str]]:
    files = {
        "items.jsonl": "".join(canonical_json(item_row(item)) + "\n" for item in items).encode(),
        "guidelines/guidelines.md": pack.guidelines.encode(),
        "README.md": readme(pack.name).encode(),
        "verify.pyz": verify_zipapp(),
        **{f"schemas/{name}.json": pretty(document) for name, document in schemas.documents().items()},
    }
    if pack.responses:
        entries = [{"name": one.name, "after_tools": list(one.after_tools), "schema": one.schema, "unusable": problem_of(one.schema) or ""}
                   for one in pack.responses]  # fmt: skip
        files[RESPONSES] = _in_order({"responses": entries})
    unusable: dict[str, str] = {}
    for tools in {sha256_of(item.tools): item.tools for item in items}.values():
        wrong = {
            tool["function"]["name"]: problem
            for tool in tools
            if (problem := _problem(tool["function"].get("parameters")))
        }
        files[f"tools/{sha256_of(tools)}.json"] = _in_order({"tools": tools, "unusable": wrong})
        unusable |= wrong
    return files, unusable


def _in_order(value: dict[str, Any]) -> bytes:
    """Keys as they are: the order of a tool's arguments is the order of the form."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()


def _problem(parameters: Any) -> str | None:
    """A schema both engines judge alike, or why not: then no call of the tool can pass, on either side."""
    return schema_problem(parameters) or problem_of(parameters)


def _partner_pem(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        text = file.read_bytes()
        if (
            not isinstance(serialization.load_pem_public_key(text), Ed25519PublicKey)
            or ed25519.public_key(text) is None
        ):
            raise ValueError
    except (OSError, ValueError):
        raise FlywheelError("that is no Ed25519 public key in PEM form", where=str(file),
                            remedy="openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout") from None  # fmt: skip
    return text.decode()


def _check_free(out: Path, files: dict[str, bytes]) -> None:
    if out.exists() and not _same(out / "manifest.json", files["manifest.json"]) and any(out.iterdir()):
        raise FlywheelError(
            "the folder holds something else", where=str(out), remedy="name a folder that is not there yet"
        )


def _write(out: Path, files: dict[str, bytes]) -> None:
    """The folder appears whole or not at all."""
    if out.exists() and _same(out / "manifest.json", files["manifest.json"]):
        files = {name: data for name, data in files.items() if not _same(out / name, data)}
        if not files:
            return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as made:
        folder = Path(made) / "batch"
        if out.exists():
            shutil.copytree(out, folder)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        if out.exists():
            os.replace(out, Path(made) / "before")
        os.replace(folder, out)


def _same(file: Path, data: bytes) -> bool:
    return file.is_file() and file.read_bytes() == data


def exported_hashes(store: EventStore, name: str) -> set[str]:
    """Hashes of the manifests under which a batch was ever handed out."""
    return exported(found.event for found in store.history(name))
