"""Was something said? A phrase anywhere in the text; a number as a number, whatever its commas, currency and zeros."""

import re

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?!\.?\d)")
_ONLY_NUMBER = re.compile(r"[$€£¥]?\s?([-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)")


def says(text: str, phrase: str) -> bool:
    """Whether `text` says `phrase`: upper and lower case are the same; a number is looked for among the text's numbers.

    "$1,250.00" says "1250" and "1250.0", and "15" does not say "5", which a search for substrings (tau-bench's way) gets
    wrong both ways. Digits that begin with a zero are an id, not a number.
    """
    wanted = _value(phrase.strip())
    if wanted is None:
        return phrase.casefold() in text.casefold()
    return any(float(found.group().replace(",", "")) == wanted for found in _NUMBER.finditer(text))


def _value(phrase: str) -> float | None:
    found = _ONLY_NUMBER.fullmatch(phrase)
    if not found:
        return None
    digits = found[1].lstrip("-+").replace(",", "")
    is_id = len(digits) > 15 or (digits[0] == "0" and digits[1:2].isdigit())
    return None if is_id else float(found[1].replace(",", ""))
