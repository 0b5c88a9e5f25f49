"""Tool results: does one report an error, and which?"""

import re
from typing import Any

import msgspec

# A result that is no JSON says so in its first words, as most frameworks write an exception.
_PLAIN = re.compile(r"\s*(?:tool )?(?:error|exception|traceback|failed|failure)\b[\s:\-(]*(.*)", re.I | re.S)

_decode = msgspec.json.Decoder().decode
_MARK = re.compile(
    r'"error"\s*:\s*(?!null|false|""|\{\}|\[\])|"(?:ok|success)"\s*:\s*false|"is_?[Ee]rror"\s*:\s*true|"status"\s*:\s*"(?:error|failed)',
    re.I,
)


def tool_error(message: dict[str, Any]) -> str | None:
    """The error a tool message reports, or None."""
    return error_in(str(message.get("content") or ""), message.get("is_error") is True)


def error_in(content: str, marked: bool = False) -> str | None:
    """The error code or first words of it in a tool's result; None where it reports none.

    Counted: `{"error": ...}`, `{"ok": false}`, `{"success": false}`, `{"is_error": true}`, `{"status": "error"}`, plain text that
    begins with "Error", and a result its source marked as failed.
    """
    if content[:1] == "{":
        if not marked and not (
            ("rror" in content or "false" in content or "ailed" in content) and _MARK.search(content)
        ):
            return None
        try:
            body = _decode(content)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            body = None
        if isinstance(body, dict):
            return _in_object(body) or ("marked_failed" if marked else None)
    elif plain := _PLAIN.match(content):
        return (plain.group(1).strip().splitlines() or ["error"])[0][:80] or "error"
    return "marked_failed" if marked else None


def _in_object(body: dict[str, Any]) -> str | None:
    error = body.get("error")
    if error:
        found = error.get("code") or error.get("type") or error.get("message") if isinstance(error, dict) else error
        return str(found or "error")[:80]
    if body.get("ok") is False or body.get("success") is False or body.get("isError") is True:
        return str(body.get("code") or body.get("message") or "not_ok")[:80]
    if body.get("is_error") is True or str(body.get("status")).lower() in ("error", "failed"):
        return str(body.get("code") or body.get("message") or "error")[:80]
    return None


def is_error_text(content: str) -> bool:
    """Whether a tool's result reports an error."""
    return error_in(content) is not None
