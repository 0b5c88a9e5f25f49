"""Personal data and secrets that an answer adds: the patterns of `flywheel.privacy.redaction`, for Python's own engine.

A test holds both to the same findings. Surrogates that our redaction wrote count as nothing, as does everything that already
stands in the run.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .strict import NotStrict, parse

_DOMAIN = "redacted.example"
# A window bounds the work on a hostile text; the overlap is longer than anything looked for.
_WINDOW, _OVERLAP = 4_096, 2_048
_PATTERNS = {
    "secret": r"\b(?:sk-[A-Za-z0-9_\-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9\-]{10,}|AIza[0-9A-Za-z_\-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{5,})|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----",
    "email": r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card": r"\b(?:\d{13,19}|\d{4}(?:[ \-]\d{4}){2,3}(?:[ \-]\d{1,4})?|\d{4}[ \-]\d{6}[ \-]\d{5})\b",
    "national_id": r"\b(?:\d{3}-\d{2}-\d{4}|\d{8}[A-Z])\b",
    "phone": r"\+\d{1,3}(?:[ .\-]?\(?\d{2,4}\)?){2,5}|\(\d{3}\) ?\d{3}[ .\-]\d{4}\b|\b\d{3}[ .\-]\d{3}[ .\-]\d{4}\b",
}
_COMPILED = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}


def found_in(text: str) -> set[tuple[str, str]]:
    """(kind, value) of everything in a text that looks like personal data or a secret."""
    found: set[tuple[str, str]] = set()
    for start in range(0, max(1, len(text)), _WINDOW - _OVERLAP):
        window = text[start : start + _WINDOW]
        for kind, pattern in _COMPILED.items():
            found.update((kind, value) for value in pattern.findall(window) if _CHECKS[kind](value))
    return found


def added(new: Iterable[str], known: Iterable[str]) -> list[tuple[str, str]]:
    """What stands in the new texts and in none of the known ones, sorted."""
    everything = "\n".join(known)
    return sorted({hit for text in new for hit in found_in(text) if hit[1] not in everything})


def masked(kind: str, value: str) -> str:
    """The finding as a report may show it: its kind and shape, never the value."""
    return f"{kind}: {value[:2]}... ({len(value)} characters)"


def texts_of(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Every text of the messages, with JSON inside strings decoded, so that an escape hides nothing."""
    for message in messages:
        texts = [message.get("content")]
        texts += [call["function"]["arguments"] for call in message.get("tool_calls") or []]
        for text in texts:
            if isinstance(text, str):
                yield text
                yield from _decoded(text)


def _decoded(text: str) -> Iterator[str]:
    if text.lstrip()[:1] not in ("{", "["):
        return
    try:
        stack = [parse(text, unique_keys=False)]
    except NotStrict:
        return
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            stack += [*part, *part.values()]
        elif isinstance(part, list):
            stack += part
        elif isinstance(part, int) and not isinstance(part, bool):
            yield str(part)


def _luhn(digits: str) -> int:
    total = 0
    for place, character in enumerate(reversed(digits)):
        number = int(character) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10


def _is_iban(value: str) -> bool:
    plain = value.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return (
        not value.startswith("ZZ")
        and 15 <= len(plain) <= 34
        and int("".join(str(int(character, 36)) for character in turned)) % 97 == 1
    )


def _is_card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and _luhn(digits) == 0 and len(set(digits)) > 1


def _is_national_id(value: str) -> bool:
    if "-" in value:
        area, group, serial = value.split("-")
        return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(value[:8]) % 23] == value[8]


def _is_phone(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return 8 <= len(digits) <= 15 and not digits.startswith("55501")


_CHECKS = {
    "secret": lambda value: True,
    "email": lambda value: not value.endswith(f"@{_DOMAIN}"),
    "iban": _is_iban,
    "card": _is_card,
    "national_id": _is_national_id,
    "phone": _is_phone,
}
