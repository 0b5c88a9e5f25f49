"""The manifest of a batch: what a partner may rely on, and nothing that tells gold items from others."""

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from flywheel.corrections.audit import sample_size
from flywheel.corrections.handoff.verify import BATCH_SCHEMA
from flywheel.corrections.handoff.verify.folder import lines
from flywheel.corrections.handoff.verify.rules import RULES
from flywheel.corrections.handoff.verify.strict import merkle_root, sha256
from flywheel.corrections.items import Item
from flywheel.toolcalls.arguments import sha256_of

OVERLAP_SHARE = 0.12
DUE_AFTER = timedelta(days=7)
_RECORDS = ("item", "correction", "decision", "unfixable", "return", "attest", "question")


def guideline_version(text: str) -> str:
    """`version 3` as the guidelines themselves say, else the beginning of their hash."""
    found = re.search(r"\bversion\s+([0-9][0-9A-Za-z.\-]{0,20})", "\n".join(text.splitlines()[:5]), re.I)
    return found[1] if found else sha256(text.encode())[:12]


def file_facts(name: str, data: bytes) -> dict[str, Any]:
    """Hash, size in bytes and, for JSONL, rows of one file."""
    return {"sha256": sha256(data), "bytes": len(data), "rows": len(lines(data)) if name.endswith(".jsonl") else None}


def qa_plan(qa_mode: str, items: int) -> dict[str, Any]:
    """What is checked how hard, and what refuses a lot; the number of gold items is not told."""
    severities = sorted({rule.severity for rule in RULES.values()})
    return {
        "mode": qa_mode,
        "checked_automatically": "every item",
        "critical_items_allowed": max(3, items // 20),
        "overlap_share": OVERLAP_SHARE,
        "audit": {"n": sample_size(items), "c": 0, "defective_share": 0.1, "confidence": 0.9},
        "defect_classes": {
            kind: [number for number, rule in RULES.items() if rule.severity == kind] for kind in severities
        },
        "gold": "items with a known answer are among the others as soon as there are earlier corrections; how many and which is not told",
    }


def tool_of(item: Item) -> str:
    """The tool the suspected step called first; '(reply)' where it called none."""
    calls = item.messages[item.message_index].get("tool_calls") or []
    return str(calls[0]["function"]["name"]) if calls else "(reply)"


def manifest_of(
    *, batch: str, workflow: str, week: str, version: str, qa_mode: str, opened_at: str, due_at: str | None, partner: str,
    partner_public_key: str | None, key_fingerprint: str, guidelines: str, redaction: tuple[str, ...], items: list[Item],
    held_back: int, files: dict[str, bytes],
) -> dict[str, Any]:  # fmt: skip
    """The manifest as it is signed. `opened_at` stands for the time of making, so that exporting again gives the same bytes."""
    facts = {name: file_facts(name, data) for name, data in sorted(files.items())}
    due = due_at or (datetime.fromisoformat(opened_at) + DUE_AFTER).isoformat()
    tools = {tool["function"]["name"]: sha256_of(tool["function"]) for item in items for tool in item.tools}
    return {
        "schema_version": BATCH_SCHEMA,
        "batch_id": batch,
        "workflow": workflow,
        "week": week,
        "version": version,
        "created_at": opened_at,
        "due_at": due,
        "partner": partner,
        "partner_public_key": partner_public_key,
        "key_fingerprint": key_fingerprint,
        "schema_versions": {name: f"{name}/1" for name in _RECORDS},
        "guidelines": {"file": "guidelines/guidelines.md", "version": guideline_version(guidelines),
                       "sha256": sha256(guidelines.encode())},
        "item_count": len(items),
        "held_back": held_back,
        "counts": {"by_cluster": dict(sorted(Counter(item.failure_cluster for item in items).items())),
                   "by_tool": dict(sorted(Counter(map(tool_of, items)).items()))},
        "tools": dict(sorted(tools.items())),
        "redaction": {"applied": "when the traces were taken in, before anything was stored", "kinds": list(redaction),
                      "scanned_again": "at this export; items with a finding were held back"},
        "qa_plan": qa_plan(qa_mode, len(items)),
        "files": facts,
        "merkle_root": merkle_root({name: fact["sha256"] for name, fact in facts.items()}),
    }  # fmt: skip
