r"""JSON escapes inside text: redaction reads JSON as text, and JSON inside JSON.

A line break stands there as `\n`, or as `\\n` in a string in a string. Its letter is no part of the word that follows, though every
pattern takes it for one. What goes here: telling the two apart, and the ways in which a value may be written.
"""

import json
import re
from bisect import bisect_left
from typing import NamedTuple

import polars as pl

# Backslash and what it escapes, as far as that ends in a letter or a digit. With the backslash doubled, the last one counts.
ESCAPE = r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})"
# A character of some pattern, written as its number: .NET writes \u002B for "+".
SPELT = r"\\u00(?:2[0589bBdDeE]|3[0-9]|[4-7][0-9a-fA-F])"
_APART = "\x1f"  # no letter, no digit, in no pattern; ASCII, which the patterns read faster
_ESCAPE, _SPELT = re.compile(ESCAPE), re.compile(rf"\\*{SPELT}{_APART}?")
_ANY = re.compile(rf'\\+(?:u([0-9a-fA-F]{{4}})|([nrtbf"/])){_APART}?')
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "/": "/"}
# A run of backslashes and what it escapes, whatever the depth; before a quote it is odd, or the quote ends the text behind a backslash.
_RUN = re.compile(
    r"(?P<odd>\\(?:\\\\)*)\"|(?P<run>\\+)(?:(?P<pair>u(?P<high>d[89ab][0-9a-f]{2})\\+u(?P<low>d[c-f][0-9a-f]{2}))"
    r"|u(?P<unit>[0-9a-f]{4})|(?P<short>[nrtbf/])|(?P<other>[^ -~]|['+&<>`]))?",
    re.IGNORECASE,
)
_SPECIAL = re.compile(rf'{_RUN.pattern}|(?P<plain>[\x00-\x1f"])', re.IGNORECASE)  # what JSON has to escape
_LETTERS = {character: letter for letter, character in _SHORT.items() if letter not in '"/'}


def apart(texts: pl.Series) -> pl.Series:
    """The texts with every escape set apart from what follows, so that no value begins inside one; `together` undoes it."""
    return texts.str.replace_all(f"({ESCAPE})", f"${{1}}{_APART}")


def together(texts: pl.Series) -> pl.Series:
    """The texts as they were before `apart`: the one character that it wrote behind each escape is taken out, and no other."""
    return texts.str.replace_all(f"({ESCAPE}){_APART}", "${1}")


def apart_in(text: str) -> str:
    """`apart` for one text."""
    return _ESCAPE.sub(lambda match: match.group() + _APART, text)


def read_spelt(text: str) -> str:
    """The text with the characters that are written as numbers and can be part of a pattern; other escapes stay."""
    return _SPELT.sub(lambda match: _character(match.group()), text)


def _character(spelt: str) -> str:
    return chr(int(spelt.rstrip(_APART)[-4:], 16))


def unescaped(found: str) -> str:
    """The value that a piece of JSON text writes, however deep it is nested."""
    if "\\" not in found:
        return found
    return _ANY.sub(lambda match: chr(int(match[1], 16)) if match[1] else _SHORT[match[2]], found)


def spellings(value: str, text: str) -> set[str]:
    """The value as it stands in a text that `apart` made, any of its characters plain, escaped or as its number."""
    return set(re.findall("".join(map(_written, value)), text))


def _written(character: str) -> str:
    plain = rf"\\*{character}" if character in '"/' else re.escape(character)
    short = rf"|\\+{_LETTERS[character]}{_APART}" if character in _LETTERS else ""
    return rf"(?:{plain}|\\+u(?i:{ord(character):04x}){_APART}{short})"


class Read(NamedTuple):
    """A text with its escapes read, however deep they are nested, and where its characters came from.

    Attributes:
        text: each escape is one character there, and each run of backslashes one backslash.
        places: of those characters, ascending.
        longer: by how much the escapes before a place are longer than what they are read as; one more entry than places.
    """

    text: str
    places: list[int]
    longer: list[int]

    def came_from(self, start: int, end: int) -> tuple[int, int]:
        """Start and end in the text that was read."""
        return start + self.longer[bisect_left(self.places, start)], end + self.longer[bisect_left(self.places, end)]


def read(text: str) -> Read:
    """Read a text's escapes; text with the same value at any depth reads the same around it."""
    parts: list[str] = []
    places: list[int] = []
    longer = [0]
    done = size = 0
    for match in _RUN.finditer(text):
        parts += text[done : match.start()], _meant(match)
        size += match.start() - done + 1
        done = match.end()
        places.append(size - 1)
        longer.append(done - size)
    parts.append(text[done:])
    return Read("".join(parts), places, longer)


def spelt_like(instead: str, raw: str) -> str:
    """What takes the place of `raw`, its quotes, backslashes and control characters escaped as they are there."""
    if "\\" not in raw or not _SPECIAL.search(instead):
        return instead
    there = list(_RUN.finditer(raw))
    longest = max(len(match["odd"] or match["run"]) for match in there)
    # A backslash is two, four or eight; a longer run is one of these and what escapes the next character.
    ways = {"\\": "\\" * (1 << longest.bit_length() - 1), **{_meant(match): match.group() for match in there}}

    def spelt(match: re.Match[str]) -> str:
        if match["plain"]:
            return ways.get(match["plain"], match["plain"])
        return ways.get(_meant(match)) or ways["\\"] + match.group().lstrip("\\")

    return _SPECIAL.sub(spelt, instead)


def _meant(match: re.Match[str]) -> str:
    if match["odd"]:
        return '"'
    if match["pair"]:
        return bytes.fromhex(match["high"] + match["low"]).decode("utf-16-be")
    return chr(int(match["unit"], 16)) if match["unit"] else match["other"] or _SHORT.get(match["short"], "\\")


def forms(value: str) -> list[str]:
    """The value as files hold it: plain, as JSON text and as JSON in JSON, with letters beyond ASCII plain or as numbers."""
    found = [value]
    for ascii_only in (False, True):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        found += [once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]]
    return list(dict.fromkeys(found))
