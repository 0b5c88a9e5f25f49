"""Tool results that are less than they seem: empty, cut off, or of a part of the work. None of them is an error."""

import re
from typing import Any, Literal

import msgspec

Lack = Literal["empty", "truncated", "partial"]

_decode = msgspec.json.Decoder().decode
_CUT = re.compile(
    r"[\[(<…][\s.…]*(?:(?:output|result|response|content|text)s?\s+)?truncated\b|\btruncated\s*[\])>]", re.I
)
_PARTIAL_STATUS = ("partial", "partially_completed", "partial_success", "incomplete")
_LEFT = ("failed", "failures", "errors", "not_processed", "unprocessed")
# What says of an empty list what was asked, and nothing of what was found.
_ABOUT_THE_QUESTION = frozenset(
    ("ok", "success", "status", "message", "count", "total", "total_count", "page", "pages", "page_size", "per_page", "limit", "offset",
     "next", "next_page", "has_more", "query")
)  # fmt: skip
# A superset of what `lack_in` finds in the messages of a run, as a regular expression that polars runs over whole columns of JSON text: an
# empty value, an object with an empty list, JSON that does not end in its bracket, and the keys and words that name the lack.
_SPACE = r"(?:\s|\\[nrtf]|\\u[0-9a-fA-F]{4})*"
_TEXT = rf'"content":\s*"{_SPACE}'
HINTS = "|".join(
    (
        rf'{_TEXT}(?:\[{_SPACE}\]|\{{{_SPACE}\}}|null|\\"\\"){_SPACE}"',
        rf'{_TEXT}\{{(?:[^"\\]|\\.)*?\[{_SPACE}\]',
        rf'{_TEXT}[\[{{](?:(?:[^"\\]|\\.)*?(?:[^"\\\]}}\s]|\\[^nrt]))?{_SPACE}"',
        r'\\"(?i:(?:is_)?truncated|partial\w*|incomplete|complete|failed|failures|errors|not_processed|unprocessed)\\"',
        rf"(?i:(?:[\[(<…]|\\u2026)(?:[.…]|{_SPACE})*(?:(?:output|result|response|content|text)s?{_SPACE})?truncated|truncated{_SPACE}[\])>])",
    )
)


def lack_in(content: str) -> Lack | None:
    """What a tool's result lacks, or None.

    truncated: JSON that is cut off, `{"truncated": true}`, or a mark such as "[truncated]". partial: `{"partial": true}`,
    `{"complete": false}`, a status such as "partial", or a list or count of what failed. empty: `[]`, `{}`, null, or an object whose
    lists are all empty and which tells nothing else. A further page (`next_page`, `has_more`) is no lack: what was asked may stand on this one.
    No text at all is none either: many tools answer so when they did what they should.
    """
    text = content.strip()
    if not text:
        return None
    if text[0] not in '[{"n':
        return "truncated" if _CUT.search(text[-200:]) else None
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        cut = text[0] in "[{" and text[-1] not in "]}"
        return "truncated" if cut or _CUT.search(text[-200:]) else None
    if value is None or value in ([], {}, ""):
        return "empty"
    if isinstance(value, list):
        return None
    return _in_object(value) if isinstance(value, dict) else None


def _in_object(body: dict[str, Any]) -> Lack | None:
    if body.get("truncated") is True or body.get("is_truncated") is True:
        return "truncated"
    status = str(body.get("status")).lower()
    if body.get("partial") is True or body.get("complete") is False or status in _PARTIAL_STATUS:
        return "partial"
    if any(_some(body.get(key)) for key in _LEFT):
        return "partial"
    lists = [value for value in body.values() if isinstance(value, list)]
    rest = [key for key, value in body.items() if not isinstance(value, list) and key not in _ABOUT_THE_QUESTION]
    return "empty" if lists and not any(lists) and not rest else None


def _some(value: Any) -> bool:
    """Whether it is a list of something or a count above zero."""
    return isinstance(value, list | dict) and bool(value) or isinstance(value, int) and value is not True and value > 0
