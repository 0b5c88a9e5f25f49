"""ECMA 262 patterns as JSON Schema uses them, parsed to a tree that `matching.py` walks in bounded time.

Python's own `re` differs from the form's engine (\\d and \\w on other scripts, `$` before a last line feed, no \\p{..}) and can
hang on nested quantifiers, so it is not used. Understood is what both engines read alike; anything else raises
UnsupportedPattern, which the export reports by name: references back to groups, inline flags, scripts.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

MAXIMUM_LENGTH = 2_000
MAXIMUM_GROUPS = 40
MAXIMUM_REPEATS = 1_000
_SPACES = frozenset(
    "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
)
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_CATEGORIES = {
    "Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt", "Modifier_Letter": "Lm",
    "Other_Letter": "Lo", "Number": "N", "Decimal_Number": "Nd", "Mark": "M", "Punctuation": "P", "Symbol": "S", "Separator": "Z",
}  # fmt: skip
_KNOWN = frozenset(_CATEGORIES.values()) | {
    "Nl", "No", "Mn", "Mc", "Me", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp",
}  # fmt: skip

Test = Callable[[str], bool]


class UnsupportedPattern(ValueError):
    """The pattern is outside of what both engines read alike; the message says which part."""


class Node(NamedTuple):
    """One node of the tree.

    Attributes:
        kind: char, sequence, choice, repeat, start, end, boundary, look.
        parts: inner nodes.
        test: for `char`, whether a character matches.
        least, most: for `repeat`; most is None without a limit.
        negative: for `look` and `boundary`, whether it must not match.
        behind: for `look`, whether it looks back.
    """

    kind: str
    parts: tuple["Node", ...] = ()
    test: Test | None = None
    least: int = 0
    most: int | None = None
    negative: bool = False
    behind: bool = False


def parse(pattern: str) -> Node:
    """The tree of a pattern; raises UnsupportedPattern."""
    if len(pattern) > MAXIMUM_LENGTH:
        raise UnsupportedPattern(f"longer than {MAXIMUM_LENGTH} characters")
    parser = _Parser(pattern)
    node = parser.choice()
    if parser.looks:  # the form's engine then reads \\d, \\w and \\s of any script, unlike in all other patterns
        parser = _Parser(pattern, _ANY_SCRIPT)
        node = parser.choice()
    if parser.place < len(pattern):
        raise UnsupportedPattern(f"an unopened ) at {parser.place}")
    return node


def is_word(character: str) -> bool:
    """Whether the character belongs to a word for \\b: of any script, as the form's engine has it, unlike its ASCII \\w."""
    if character.isascii():
        return character in _WORD
    category = unicodedata.category(character)
    circled = "\u24b6" <= character <= "\u24e9"
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc") or character in "\u200c\u200d" or circled


class _Parser:
    def __init__(self, text: str, shorthand: "dict[str, Test] | None" = None) -> None:
        self.text, self.place, self.groups, self.looks = text, 0, 0, False
        self._shorthand = shorthand or _SHORTHAND

    def _peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise UnsupportedPattern("it ends too early")
        self.place += 1
        return character

    def _take(self, text: str) -> bool:
        if self.text.startswith(text, self.place):
            self.place += len(text)
            return True
        return False

    def choice(self) -> Node:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Node("choice", tuple(branches))

    def _sequence(self) -> Node:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return Node("sequence", tuple(parts))

    def _repeated(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        if node.kind in ("start", "end", "boundary", "look"):
            raise UnsupportedPattern("a repeated assertion")
        self._take("?")  # lazy or greedy: whether it matches is the same
        if self._peek() in ("*", "+", "?", "{"):
            raise UnsupportedPattern("a repetition of a repetition without a group")
        return Node("repeat", (node,), least=bounds[0], most=bounds[1])

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if self._peek() != "{":
            return None
        found = re.compile(r"\{([0-9]{1,4})(,([0-9]{1,4})?)?\}").match(self.text, self.place)
        if not found:
            raise UnsupportedPattern("a { that begins no repetition")
        self.place = found.end()
        least = int(found[1])
        most = least if not found[2] else int(found[3]) if found[3] else None
        if max(least, most or 0) > MAXIMUM_REPEATS or (most is not None and most < least):
            raise UnsupportedPattern(f"a repetition past {MAXIMUM_REPEATS} or upside down")
        return least, most

    def _atom(self) -> Node:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return Node("char", test=self._class())
            case "\\":
                return self._escape()
            case ".":
                return Node("char", test=lambda c: c != "\n")
            case "^":
                return Node("start")
            case "$":
                return Node("end")
            case "*" | "+" | "?" | "{":
                raise UnsupportedPattern(f"{character} with nothing to repeat")
        return Node("char", test=lambda c: c == character)

    def _group(self) -> Node:
        self.groups += 1
        if self.groups > MAXIMUM_GROUPS:
            raise UnsupportedPattern(f"more than {MAXIMUM_GROUPS} groups")
        look = None
        for opening, behind, negative in (
            ("?=", False, False),
            ("?!", False, True),
            ("?<=", True, False),
            ("?<!", True, True),
        ):
            if self._take(opening):
                look, self.looks = Node("look", negative=negative, behind=behind), True
                break
        if look is None and not self._take("?:") and self._peek() == "?":
            named = re.compile(r"\?<[A-Za-z_][A-Za-z0-9_]*>").match(self.text, self.place)
            if not named:
                raise UnsupportedPattern("flags or another kind of group")
            self.place = named.end()
        inner = self.choice()
        if not self._take(")"):
            raise UnsupportedPattern("a group that is never closed")
        return inner if look is None else look._replace(parts=(inner,))

    def _escape(self) -> Node:
        if self._peek() in ("b", "B"):
            return Node("boundary", negative=self._next() == "B")
        test, single = self._escaped()
        return Node("char", test=test if single is None else lambda c: c == single)

    def _escaped(self) -> tuple[Test, str | None]:
        """What an escape stands for: a test, and the character when it is a single one."""
        character = self._next()
        shorthand = self._shorthand.get(character)
        if shorthand:
            return shorthand, None
        if character in "pP":
            return self._property(character == "P"), None
        if character in _CONTROL:
            single = _CONTROL[character]
        elif character in "xu":
            single = self._code(2 if character == "x" else 4)
        elif character == "c":
            letter = self._next()
            if not (letter.isascii() and letter.isalpha()):
                raise UnsupportedPattern("\\c without a letter")
            single = chr(ord(letter.upper()) - 64)
        elif character.isascii() and not character.isalnum() and character > " ":
            single = character
        else:
            raise UnsupportedPattern(f"the escape \\{character}")
        return (lambda c: c == single), single

    def _code(self, digits: int) -> str:
        found = re.compile(
            r"\{([0-9A-Fa-f]{1,6})\}" if self._peek() == "{" and digits == 4 else f"([0-9A-Fa-f]{{{digits}}})"
        )
        code = found.match(self.text, self.place)
        if not code or int(code[1], 16) > 0x10FFFF or 0xD800 <= int(code[1], 16) < 0xE000:
            raise UnsupportedPattern("a character code that is none")
        self.place = code.end()
        return chr(int(code[1], 16))

    def _property(self, negative: bool) -> Test:
        found = re.compile(r"\{([A-Za-z_]+)\}").match(self.text, self.place)
        name = _CATEGORIES.get(found[1], found[1]) if found else ""
        if not found or name not in _KNOWN:
            raise UnsupportedPattern("a Unicode property other than a general category")
        self.place = found.end()
        return lambda c: unicodedata.category(c).startswith(name) is not negative

    def _class(self) -> Test:
        negative = self._take("^")
        if self._peek() == "]":
            raise UnsupportedPattern("an empty class")
        tests: list[Test] = []
        while not self._take("]"):
            tests.append(self._range())
        return lambda c: any(test(c) for test in tests) is not negative

    def _range(self) -> Test:
        test, first = self._class_atom()
        if self._peek() != "-" or self.text[self.place + 1 : self.place + 2] == "]":
            return test
        self.place += 1
        _, last = self._class_atom()
        if first is None or last is None or first > last:
            raise UnsupportedPattern("a range between something else than two ascending characters")
        return lambda c: first <= c <= last

    def _class_atom(self) -> tuple[Test, str | None]:
        character = self._next()
        if character == "\\":
            return self._escaped()
        if character == "[" or (character in "&-~" and self._peek() == character):
            raise UnsupportedPattern("set operations inside a class")
        return (lambda c: c == character), character


_SHORTHAND: dict[str, Test] = {
    "d": lambda c: "0" <= c <= "9",
    "D": lambda c: not "0" <= c <= "9",
    "w": lambda c: c in _WORD,
    "W": lambda c: c not in _WORD,
    "s": lambda c: c in _SPACES,
    "S": lambda c: c not in _SPACES,
}
_WHITE_SPACE = (_SPACES - {"\ufeff"}) | {"\x85"}
_ANY_SCRIPT: dict[str, Test] = {
    "d": lambda c: unicodedata.category(c) == "Nd",
    "D": lambda c: unicodedata.category(c) != "Nd",
    "w": is_word,
    "W": lambda c: not is_word(c),
    "s": lambda c: c in _WHITE_SPACE,
    "S": lambda c: c not in _WHITE_SPACE,
}
