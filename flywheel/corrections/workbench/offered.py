"""Values seen earlier in the run, to pick from instead of typing: people copy ids badly and pick them well."""

import re
from collections.abc import Iterable
from typing import Any

from flywheel.chat.visible import has_hidden
from flywheel.corrections.workbench.form import Path, Shape, fits_a_field
from flywheel.toolcalls.arguments import canonical_json, parse_arguments

MOST = 9
_LONGEST = 80
_DEEPEST = 6
# In what people write: what they put in quotes, and words; both in one pass over text that may be an attacker's.
_WORD = re.compile(r"\"([^\"\n]{1,60})\"|([^\s\",;:!?()<>\[\]{}]+)")


class Offered:
    """The values of a run's messages, newest first, by the key they stood under.

    Args:
        messages: what the agent had seen before the step that is being corrected.
    """

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self._by_key: dict[str, list[Any]] = {}
        self._loose: list[Any] = []
        for message in reversed(list(messages)):
            self._read(message)

    def __call__(self, path: Path, shape: Shape) -> tuple[str, ...]:
        """What to offer for a field: values of the same name first, then what stood in the person's words."""
        if shape.widget not in ("text", "area", "number") or not path:
            return ()
        key = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
        wanted = (int, float) if shape.widget == "number" else str
        found: dict[str, None] = {}
        for value in [*self._by_key.get(key.lower(), []), *self._near(key), *self._loose]:
            if isinstance(value, bool) or not isinstance(value, wanted):
                continue
            text = value if isinstance(value, str) else canonical_json(value)
            if text and len(text) <= _LONGEST and fits_a_field(text) and not has_hidden(text):
                found.setdefault(text)
        return tuple(found)[:MOST]

    def _near(self, key: str) -> list[Any]:
        """Values under a name that says the same: orders for order_id, id for order_id."""
        stem = key.lower().removesuffix("_id")
        return [v for name, values in self._by_key.items() if name != key.lower() and (name.rstrip("s") == stem or name == "id" and stem != key.lower()) for v in values]  # fmt: skip

    def _read(self, message: dict[str, Any]) -> None:
        if message.get("role") == "system":
            return
        for call in message.get("tool_calls") or []:
            self._walk("", parse_arguments(call["function"]["arguments"]).value, 0)
        content = message.get("content")
        if not isinstance(content, str):
            return
        parsed = _records(content[:200_000]) if message.get("role") == "tool" else None
        if parsed is not None:
            self._walk("", parsed, 0)
        else:
            self._loose += [text for found in _WORD.finditer(content[:20_000]) if (text := _telling(found))]
            self._loose += [number for text in self._loose[-50:] if (number := _as_number(text)) is not None]

    def _walk(self, key: str, value: Any, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                self._walk(str(name), inner, depth + 1)
        elif isinstance(value, list):
            for inner in value[:50]:
                self._walk(key, inner, depth + 1)
        elif value is not None:
            self._by_key.setdefault(key.lower(), []).append(value)


def _records(content: str) -> Any:
    """The object, or the list, that a tool answered with; None where it answered with words."""
    if content[:1] == "[":
        return parse_arguments(f'{{"list": {content}}}').value
    return parse_arguments(content).value if content[:1] == "{" else None


def _telling(found: re.Match[str]) -> str:
    """What was quoted, or a word with a digit or an @ in it; else nothing."""
    word = found[1] or found[2].strip(".-'*`~|")  # Markdown's marks are none of the value
    return word if found[1] or (len(word) <= _LONGEST and ("@" in word[1:-1] or any(c.isdigit() for c in word))) else ""


def _as_number(text: Any) -> int | float | None:
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,15}(?:\.\d{1,6})?", text):
        return None
    return float(text) if "." in text else int(text)
