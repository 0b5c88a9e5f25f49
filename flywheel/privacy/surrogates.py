"""Typed surrogates: what stands in the place of a value that was taken out.

The same value has the same surrogate everywhere in an installation (a keyed hash decides), formats and checksums stay valid, so
JSON Schemas still accept a call and a tool can still be re-run, and no surrogate is a value a real person can have: e-mail at
a reserved domain, fictional telephone numbers, unassigned card and social security ranges.
"""

import re
from collections.abc import Callable

_FIRST = ("Alex", "Avery", "Blake", "Casey", "Dana", "Devon", "Drew", "Ellis", "Emery", "Finley", "Harper", "Jamie", "Jordan", "Kai",
          "Kendall", "Lane", "Logan", "Morgan", "Noel", "Parker", "Quinn", "Reese", "Riley", "Robin", "Rowan", "Sage", "Sam", "Shay",
          "Skyler", "Taylor", "Terry", "Wren")  # fmt: skip
_LAST = ("Abbott", "Ashby", "Barlow", "Bishop", "Carver", "Dalton", "Eaton", "Farrow", "Garner", "Hale", "Ingram", "Jarvis", "Keating",
         "Larkin", "Mercer", "Nash", "Oakley", "Penn", "Quill", "Ramsey", "Sutton", "Tate", "Underhill", "Vance", "Weston", "York",
         "Archer", "Booth", "Calder", "Drake", "Ellery", "Fenn")  # fmt: skip
DOMAIN = "redacted.example"


def surrogate(kind: str, value: str, digest: str) -> str:
    """The surrogate of `value`; `digest` is its keyed hash (64 hex digits)."""
    return _MAKERS.get(kind, _shape)(value, digest)


def _email(value: str, digest: str) -> str:
    return f"p-{digest[:12]}@{DOMAIN}"


def _phone(value: str, digest: str) -> str:
    """The same punctuation, digits of the fictional 555-01 range."""
    size = sum(character.isdigit() for character in value)
    return _pour(value, ("55501" + _digits(digest, size))[:size])


def _card(value: str, digest: str) -> str:
    size = sum(character.isdigit() for character in value)
    body = ("999999" + _digits(digest, size))[: size - 1]
    return _pour(value, body + str((10 - luhn(body + "0")) % 10))


def _iban(value: str, digest: str) -> str:
    """Country ZZ, digits, valid check digits; the digits begin with 9, or they could be taken for a card's."""
    plain = value.replace(" ", "")
    body = "9" + _digits(digest, len(plain) - 5)
    check = 98 - int(body + "353500") % 97
    text = f"ZZ{check:02d}{body}"
    places = iter(text)
    return "".join(character if character == " " else next(places) for character in value)


def _national_id(value: str, digest: str) -> str:
    if re.fullmatch(r"\d{3}-\d{2}-\d{4}", value):
        return f"9{_digits(digest, 2)}-{int(_digits(digest, 6)) % 49 + 1:02d}-{_digits(digest, 4)}"
    number = int("9" + _digits(digest, 7))
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _secret(value: str, digest: str) -> str:
    return f"REDACTED-{digest[:16]}"


def _person_name(value: str, digest: str) -> str:
    """As many words as the name had."""
    words = max(1, len(value.split()))
    names = [_FIRST[int(digest[:4], 16) % len(_FIRST)], _LAST[int(digest[4:8], 16) % len(_LAST)]]
    return names[1] if words == 1 and int(digest[8], 16) % 2 else " ".join((names * words)[:words])


def _date(value: str, digest: str) -> str:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return f"19{int(digest[:4], 16) % 40 + 20:02d}-{int(digest[4:6], 16) % 12 + 1:02d}-{int(digest[6:8], 16) % 28 + 1:02d}"
    return _shape(value, digest)


def _free_text(value: str, digest: str) -> str:
    return f"[redacted {digest[:8]}]"


def _shape(value: str, digest: str) -> str:
    """Digits become digits and letters letters, so that a pattern in the schema still holds."""
    stream = (int(digest[i % 60 : i % 60 + 4], 16) for i in range(len(value)))
    return "".join(
        str(n % 10) if c.isdigit() else chr(97 + n % 26) if c.islower() else chr(65 + n % 26) if c.isupper() else c
        for c, n in zip(value, stream, strict=True)
    )


_MAKERS: dict[str, Callable[[str, str], str]] = {
    "email": _email, "phone": _phone, "card": _card, "iban": _iban, "national_id": _national_id, "secret": _secret,
    "person_name": _person_name, "date": _date, "free_text": _free_text, "address": _free_text,
}  # fmt: skip


def luhn(digits: str) -> int:
    """Luhn sum modulo 10; 0 for a valid number."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        number = int(character) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10


def iban_is_valid(value: str) -> bool:
    """ISO 13616 check: the number modulo 97 is 1."""
    plain = value.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _digits(digest: str, size: int) -> str:
    return str(int(digest, 16)).zfill(78)[-size:] if size else ""


def _pour(value: str, digits: str) -> str:
    """The digits of `value` replaced one by one, its punctuation kept."""
    places = iter(digits)
    return "".join(next(places) if character.isdigit() else character for character in value)
