"""Text from traces on its way to a person: shown, never active, and with nothing hidden in it.

What goes here: how unprintable text is spelled out, and text inside Markdown. What does not: HTML; a template escapes what it is given.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# Everything that might be unprintable: cheap to find, and `isprintable` then decides.
_SUSPECT = re.compile(r"[^\x20-\x7e\n]")


_WWW = re.compile(r"\bwww\.", re.I)
_ACTIVE = re.compile(r"[\\`|<>&*\[\]~#]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


class Segment(NamedTuple):
    """A piece of text; `hidden` where it stands for a character that could not be seen."""

    text: str
    hidden: bool


def visible(value: Any) -> str:
    """The text with control, bidirectional and zero-width characters spelled out as \\uXXXX."""
    text = str(value)
    return text if text.isprintable() else _SUSPECT.sub(_spelled, text)


def segments(value: Any) -> list[Segment]:
    """The same text in pieces, so that a page can mark what was spelled out."""
    text = str(value)
    return [Segment(text, False)] if text.isprintable() else list(_pieces(text))


def has_hidden(value: Any) -> bool:
    """Whether the text holds a character that a page would not show."""
    return visible(value) != str(value)


def in_markdown(value: Any) -> str:
    """The text as one line of Markdown that shows it and does nothing: no markup, HTML, table cells, images or links, bare addresses included."""
    shown = visible(str(value)).replace("\n", " ")
    # Dagster's pages make links of bare addresses too: https[:]//example.org is how one is written that must not be clicked.
    shown = _WWW.sub("www[.]", shown.replace("://", "[:]//"))
    return _ACTIVE.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), shown)


def _pieces(text: str) -> Iterator[Segment]:
    start = 0
    for found in _SUSPECT.finditer(text):
        if found[0].isprintable():
            continue
        if found.start() > start:
            yield Segment(text[start : found.start()], False)
        yield Segment(_spelled(found), True)
        start = found.end()
    if start < len(text):
        yield Segment(text[start:], False)


def _spelled(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else f"\\u{ord(character):04x}"
