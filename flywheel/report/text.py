"""Text from traces on its way to a page: shown, never active."""

from typing import Any


def visible(value: Any) -> str:
    """The text with control, bidirectional and zero-width characters spelled out as \\uXXXX."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in str(value))
