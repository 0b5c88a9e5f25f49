"""The statement of a return: what was accepted, what was rejected and why, what is billable; printed, signed and kept.

It is about a batch (or a slice) as it stands after the import, cumulative over its parts. Accepted means: taken into the store; the
house's own review and audit come after it and change no statement.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flywheel.corrections.handoff.importing import Imported
from flywheel.corrections.handoff.keys import public_pem
from flywheel.corrections.handoff.verify import ed25519
from flywheel.corrections.handoff.verify.batch import Batch as HandedOut
from flywheel.corrections.handoff.verify.folder import write
from flywheel.corrections.handoff.verify.strict import pretty, sha256
from flywheel.errors import FlywheelError

STATEMENT_SCHEMA = "statement/1"


def statement_of(handed: HandedOut, done: Imported, rates: Mapping[str, float]) -> dict[str, Any]:
    """The statement's content, without its number and date.

    Args:
        rates: the pack's costs an hour; `annotator_hour`, else `expert_hour`, prices the hours. Without one no amount is stated.

    Billable are accepted answers, and refused ones whose every finding is not the partner's fault (`billable` in the finding): a tool
    whose schema cannot be judged, an item called back after the work was done. Hours are the active time the answers report; reviewing
    is not in the format. What the store did not take (somebody else answered it) is not billable.
    """
    report = done.verdict.report
    taken = [answer for answer in done.verdict.accepted if answer.item_id not in done.not_taken]
    rejected = _rejected(report, done)
    spared = [done.verdict.answers[one["item_id"]] for one in rejected if one["billable"] and one["item_id"] in done.verdict.answers]  # fmt: skip
    hours = sum(answer.row["active_ms"] for answer in (*taken, *spared)) / 3_600_000
    rate = rates.get("annotator_hour", rates.get("expert_hour"))
    kinds = [answer.kind for answer in taken]
    return {
        "schema_version": STATEMENT_SCHEMA,
        "batch_id": report["batch_id"],
        "batch_sha256": handed.sha256,
        "slice": handed.manifest.get("slice"),
        "partner": handed.manifest["partner"],
        "parts": [{name: part[name] for name in ("part", "number", "sha256", "verdict")} for part in report["parts"]],
        "items": report["counts"]["items"],
        "open": report["counts"]["open"],
        "recalled": report["counts"]["recalled"],
        "accepted": {"items": len(taken), "corrections": kinds.count("correction"), "unfixable": kinds.count("unfixable"),
                     "item_ids": [answer.item_id for answer in taken]},
        "rejected": rejected,
        "rejected_as_a_whole": report["reasons"],
        "billable": {"items": len(taken) + len(spared), "accepted": len(taken), "refused_without_fault": len(spared),
                     "hours": round(hours, 4), "rate_an_hour": rate, "amount": round(hours * rate, 2) if rate is not None else None},
    }  # fmt: skip


def keep(content: dict[str, Any], folder: Path, returned: Path, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Number, date and sign a statement, keep it in `folder` and beside the return; the same content again is the same statement.

    Args:
        folder: the batch's folder in the house (letters.folder_of).
        returned: the return it is about; `statement.json` and its signature are written into it.
    """
    kept = folder / "statements"
    kept.mkdir(parents=True, exist_ok=True)
    files = sorted(kept.glob("statement-*.json"))
    before = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    same = next((one for one in before if {**one, "number": 0, "at": ""} == {**content, "number": 0, "at": ""}), None)
    last = next((one for one in reversed(before) if one["batch_sha256"] == content["batch_sha256"]), None)
    if same is not None and same == last:
        statement = same
    else:
        statement = {**content, "number": len(files) + 1, "at": datetime.now(UTC).isoformat()}
    text = pretty(statement)
    signature = key.sign(text)
    for place, name in ((kept, _name(statement["number"])), (returned, "statement.json")):
        write(place, f"{name}.sig", signature)
        write(place, name, text)
    return statement


def kept_statements(folder: Path, key: Ed25519PrivateKey) -> list[tuple[dict[str, Any], str]]:
    """The statements kept about a batch, in their order, each with the hash of its bytes.

    Args:
        folder: the batch's folder in the house (letters.folder_of).

    Raises FlywheelError at the first that is not signed with the key, or left out between others.
    """
    public = ed25519.public_key(public_pem(key)) or b""
    found: list[tuple[dict[str, Any], str]] = []
    for number, file in enumerate(sorted((folder / "statements").glob("statement-*.json")), 1):
        text, signature = file.read_bytes(), file.with_name(f"{file.name}.sig")
        signed = signature.is_file() and ed25519.verify(public, text, signature.read_bytes())
        statement = json.loads(text) if signed else {}
        if statement.get("number") != number or file.name != _name(number):
            raise FlywheelError("a statement was changed or taken away after it was signed", where=str(folder / "statements" / _name(number)),
                                remedy="restore it from a backup: the partner holds it as it was")  # fmt: skip
        found.append((statement, sha256(text)))
    return found


def sha256_of_statement(statement: dict[str, Any]) -> str:
    """The hash of a kept statement's bytes."""
    return sha256(pretty(statement))


def _name(number: int) -> str:
    return f"statement-{number:03d}.json"


def text_of(statement: Mapping[str, Any]) -> str:
    """The statement in a few lines for a terminal; item ids and texts of others may hold anything: show it through `visible`."""
    accepted, billable = statement["accepted"], statement["billable"]
    said = [
        f"statement {statement['number']} of batch {statement['batch_id']}"
        + (f", slice {statement['slice']['number']} of {statement['slice']['of']}" if statement["slice"] else "")
        + f", {statement['partner']}",
        f"  accepted {accepted['items']} of {statement['items']} items: {accepted['corrections']} corrected, {accepted['unfixable']} that cannot be fixed",
        f"  rejected {len(statement['rejected'])}, open {statement['open']}, called back {statement['recalled']}",
        *(f"    item {one['item_id']}: {'; '.join(one['reasons'])}{' (billable)' if one['billable'] else ''}" for one in statement["rejected"][:20]),
        *(["    and more, see statement.json"] if len(statement["rejected"]) > 20 else []),
        *(f"  the whole return was refused: {reason}" for reason in statement["rejected_as_a_whole"]),
        f"  billable {billable['items']} items: {billable['accepted']} accepted, {billable['refused_without_fault']} refused through no fault of theirs; "
        f"{billable['hours']:.2f} active hours" + (f" at {billable['rate_an_hour']:g} an hour: {billable['amount']:.2f}" if billable["amount"] is not None
        else "; no amount: the pack names no rates.annotator_hour"),
    ]  # fmt: skip
    return "\n".join(said)


def _rejected(report: dict[str, Any], done: Imported) -> list[dict[str, Any]]:
    """Item -> the rules it broke, in the report's order, and what the store said to those it did not take."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in report["findings"]:
        if one["item_id"] and one["class"] != "minor" and one["rule_id"] != "V04":  # what is missing is open
            found.setdefault(one["item_id"], []).append(one)
    rejected = [
        {"item_id": item_id, "rules": sorted({one["rule_id"] for one in findings}), "billable": all(one["billable"] for one in findings),
         "reasons": [f"{one['rule_id']}: {one['path']}: got {one['got']}, expected {one['expected']}"[:400] for one in findings[:5]]}
        for item_id, findings in found.items()
    ]  # fmt: skip
    return rejected + [
        {"item_id": item_id, "rules": [], "billable": False, "reasons": [f"not taken: {why}"]} for item_id, why in sorted(done.not_taken.items())
    ]  # fmt: skip
