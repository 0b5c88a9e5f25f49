"""The contract's records as JSON Schemas, written into every batch: what an item is, and what may come back.

`verify` judges returned lines with exactly these files, so the text a partner reads and the rule that refuses are one.
"""

from typing import Any

from flywheel.corrections.handoff.verify import (
    ATTEST_SCHEMA,
    CORRECTION_SCHEMA,
    DECISION_SCHEMA,
    ITEM_SCHEMA,
    QUESTION_SCHEMA,
    RETURN_SCHEMA,
    UNFIXABLE_SCHEMA,
)  # fmt: skip

UNFIXABLE_CODES = ("no_ground_truth", "tool_bug", "policy_gap", "not_a_failure")
_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_NOTE = {"type": "string", "maxLength": 10_000}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_ACTOR = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
          "description": "A pseudonym that stays the same for one person, never a name."}  # fmt: skip
_TIME = {"type": "string", "maxLength": 40, "description": "ISO 8601 with a zone, as in 2026-01-07T09:30:00+00:00."}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required),
            "additionalProperties": False, **more}  # fmt: skip


_CALL = _object({
    "id": _TEXT, "type": {"const": "function"},
    "function": _object({"name": {"type": "string", "maxLength": 200}, "arguments": {
        "type": "string", "description": "A JSON object as text, as the model has to write it."}}),
})  # fmt: skip
_MESSAGE = _object(
    {"role": {"enum": ["system", "user", "assistant", "tool"]}, "content": {"type": ["string", "null"]}},
    {
        "tool_calls": {"type": "array", "items": _CALL},
        "tool_call_id": {"type": "string"},
        "is_error": {"type": "boolean"},
    },
)
_OPERATION = _object(
    {"op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]}, "path": {"type": "string"}},
    {"value": {}, "from": {"type": "string"}},
)
_WORK = {"item_id": _TEXT, "base_sha256": _HASH, "actor_ref": _ACTOR, "guideline_version": _TEXT,
         "active_ms": {"type": "integer", "minimum": 0}, "started_at": _TIME, "submitted_at": _TIME}  # fmt: skip

ITEM = _object(
    {"schema_version": {"const": ITEM_SCHEMA}, "item_id": _TEXT, "position": {"type": "integer"}, "base_sha256": _HASH,
     "tools_sha256": _HASH, "messages": {"type": "array"},
     "message_index": {"type": "integer", "description": "The assistant step that is suspected; another may be marked."},
     "failure_cluster": {"type": "string"}, "bucket": {"type": "string"}, "severity": {"type": "string"},
     "picked_because": {"type": "string"}},
    {"language": {"type": "string"}, "skills": {"type": "array", "items": {"type": "string"}}},
)  # fmt: skip
CORRECTION = _object(
    {
        "schema_version": {"const": CORRECTION_SCHEMA},
        **_WORK,
        "first_bad_message_index": {"type": "integer", "minimum": 0},
        "trainable_indices": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        "suffix_mode": {"enum": ["truncated", "reexecuted", "rolled_forward", "hand_written"]},
        "rationale": _NOTE,
    },
    {
        "patch": {"type": "array", "items": _OPERATION, "description": "RFC 6902 over the list of messages."},
        "resulting_messages": {"type": "array", "items": _MESSAGE},
        "failure_code": _TEXT,
        "client_version": _TEXT,
    },
    anyOf=[{"required": ["patch"]}, {"required": ["resulting_messages"]}],
)
UNFIXABLE = _object(
    {"schema_version": {"const": UNFIXABLE_SCHEMA}, **_WORK, "code": {"enum": list(UNFIXABLE_CODES)}, "note": _NOTE}
)
DECISION = _object(
    {"schema_version": {"const": DECISION_SCHEMA}, "item_id": _TEXT, "actor_ref": _ACTOR,
     "role": {"enum": ["reviewer", "adjudicator"]}, "verdict": {"enum": ["accept", "return", "dispute"]}, "at": _TIME},
    {"answer_sha256": {**_HASH, "description": "Hash of the line it is about; without it, the line in the same part."},
     "reason_codes": {"type": "array", "items": _TEXT}, "note": _NOTE},
)  # fmt: skip
RETURN = _object({
    "schema_version": {"const": RETURN_SCHEMA}, "batch_id": _TEXT, "parent_batch_sha256": {"type": "string"},
    "part": {"type": "integer", "minimum": 1}, "complete": {"type": "boolean"},
    "files": {"type": "object", "additionalProperties": _object({
        "sha256": _HASH, "bytes": {"type": "integer"}, "rows": {"type": ["integer", "null"]}})},
})  # fmt: skip
ATTEST = _object({
    "schema_version": {"const": ATTEST_SCHEMA}, "pii_handling": _NOTE, "deletion_date": _TEXT,
    "staff": {"type": "array", "items": _object({"actor_ref": _ACTOR, "roles": {
        "type": "array", "items": {"enum": ["annotator", "reviewer", "adjudicator"]}}})},
})  # fmt: skip

QUESTION = _object({
    "schema_version": {"const": QUESTION_SCHEMA}, "question_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "item_id": {"type": ["string", "null"], "description": "null asks about the whole batch."}, "actor_ref": _ACTOR, "asked_at": _TIME,
    "text": {"type": "string", "minLength": 1, "maxLength": 4_000},
})  # fmt: skip

SCHEMAS = {
    "item": ITEM,
    "correction": CORRECTION,
    "decision": DECISION,
    "unfixable": UNFIXABLE,
    "return": RETURN,
    "attest": ATTEST,
    "question": QUESTION,
}


def documents() -> dict[str, dict[str, Any]]:
    """File name without suffix -> JSON Schema document."""
    return {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{name.title()}/1", **schema}
        for name, schema in SCHEMAS.items()
    }
