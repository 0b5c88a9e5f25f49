"""Demonstrations: runs done right, read from the pack and checked like any correction."""

import json
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import canonical_json, sha256_of
from flywheel.toolcalls.schema_check import check_call

_WANTED = ("conversation_id", "tools", "messages", "annotator_kind", "annotator", "reviewer", "qa_mode")


def read_demonstrations(folder: Path) -> list[dict[str, Any]]:
    """DEMONSTRATIONS rows without partition columns, from every `*.jsonl` of a folder; a missing folder gives none.

    Raises FlywheelError naming file, line and remedy for a line that is not an accepted, schema-valid run.
    """
    rows: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                row = _row(line, f"{file}:{number}", file.name)
                rows[row["demonstration_id"]] = row
    return [rows[key] for key in sorted(rows)]


def _row(line: str, where: str, file: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        missing = [key for key in _WANTED if key not in value]
    except (ValueError, TypeError) as error:
        raise FlywheelError(f"not a JSON object: {error}", where=where, remedy="mend or remove that line") from None
    if missing:
        raise FlywheelError(f"a demonstration lacks {', '.join(missing)}", where=where, remedy="add the missing fields")
    if value["annotator"] == value["reviewer"] and value["qa_mode"] != "solo":
        raise FlywheelError(f"{value['annotator']} both wrote and accepted it", where=where,
                            remedy="have another person accept it, or say qa_mode solo")  # fmt: skip
    for message in value["messages"][value.get("trains_from", 0) :]:
        for call in message.get("tool_calls") or []:
            problems = check_call(value["tools"], call["function"]["name"], call["function"]["arguments"])
            if problems:
                raise FlywheelError(f"call of {call['function']['name']}: {problems[0].message}", where=where,
                                    remedy="a demonstration must be schema-valid: correct the call")  # fmt: skip
    teacher = value.get("teacher")
    return {
        "demonstration_id": sha256_of([value["tools"], value["messages"]])[:16],
        "conversation_id": value["conversation_id"],
        "tools": canonical_json(value["tools"]),
        "messages": canonical_json(value["messages"]),
        "annotator_kind": value["annotator_kind"],
        "annotator": value["annotator"],
        "reviewer": value["reviewer"],
        "qa_mode": value["qa_mode"],
        "source_file": file,
        "source": value.get("source", "person"),
        "teacher": canonical_json(teacher) if teacher else None,
        "trains_from": value.get("trains_from", 0),
        **{name: value.get(name) for name in ("trace_id", "principal_ref", "tenant_id")},
    }
