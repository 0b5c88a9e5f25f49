r"""JSON escapes inside text: redaction reads JSON as text, and JSON inside JSON.

A line break stands there as `\n`, or as `\\n` in a string in a string. Its letter is no part of the word that follows, though every
pattern takes it for one. What goes here: telling the two apart, and the ways in which a value may be written.
"""

import json
import re

import polars as pl

# Backslash and what it escapes, as far as that ends in a letter or a digit. With the backslash doubled, the last one counts.
ESCAPE = r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})"
# A character of some pattern, written as its number: .NET writes \u002B for "+".
SPELT = r"\\u00(?:2[0589bBdDeE]|3[0-9]|[4-7][0-9a-fA-F])"
_APART = "\x1f"  # no letter, no digit, in no pattern; ASCII, which the patterns read faster
_ESCAPE, _SPELT = re.compile(ESCAPE), re.compile(rf"\\*{SPELT}{_APART}?")
_ANY = re.compile(rf'\\+(?:u([0-9a-fA-F]{{4}})|([nrtbf"/])){_APART}?')
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "/": "/"}
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
    """The value as it stands in a text that `apart` made: each of its characters plain, escaped or as its number."""
    return set(re.findall("".join(map(_written, value)), text))


def _written(character: str) -> str:
    plain = rf"\\*{character}" if character in '"/' else re.escape(character)
    short = rf"|\\+{_LETTERS[character]}{_APART}" if character in _LETTERS else ""
    return rf"(?:{plain}|\\+u(?i:{ord(character):04x}){_APART}{short})"


def forms(value: str) -> list[str]:
    """The value as files hold it: plain, as JSON text and as JSON in JSON, with letters beyond ASCII plain or as numbers."""
    found = [value]
    for ascii_only in (False, True):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        found += [once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]]
    return list(dict.fromkeys(found))
