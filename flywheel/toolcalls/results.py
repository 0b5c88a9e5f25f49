"""Tool results: does one report an error?"""

import json
from typing import Any


def tool_error(message: dict[str, Any]) -> str | None:
    """The error code a tool message reports, or None: `{"error": ...}` and `{"ok": false}` bodies count."""
    try:
        body = json.loads(message.get("content") or "")
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    if body.get("error"):
        return str(body["error"])[:80]
    return "not_ok" if body.get("ok") is False else None
