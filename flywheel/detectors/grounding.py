"""Arguments that come from nowhere: an id, e-mail, date, long number or person's name that no earlier text holds."""

import re
from collections.abc import Iterator
from datetime import date

from flywheel.detectors.finding import Finding, Run

# Ids and numbers: a digit among at least five characters, as production systems make them.
# From the start of a word only: no position inside one is tried again. E-mail addresses are looked for where there is an @.
_TOKENS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]*\d[A-Za-z0-9_\-]*")
_TOKENS_AND_MAIL = re.compile(rf"(?<![A-Za-z0-9_.+\-])[A-Za-z0-9_.+\-]+@[A-Za-z0-9.\-]+|{_TOKENS.pattern}")
# An @, or a digit before three or after four such characters; begins with one set, so that the engine skips to it.
_HINT = re.compile(r"[\d@](?:(?<=@)|[A-Za-z0-9_\-]{3}|(?<=[A-Za-z0-9_\-]{4}\d))")
# A person's name: a field that is called so, and capitalised words. Titles of things ("name", "file_name") are the model's to make up.
_NAMED = re.compile(
    r'"(?:\w*_)?(?:first|last|full|given|family|middle|sur|customer|passenger|guest|client|contact|patient|recipient|holder|person)'
    r'_?name"\s*:\s*"([^"\\]{3,60})"',
    re.I,
)
_NAME = re.compile(r"[^\W\d_]+(?:[ '.\-]+[^\W\d_]+)*\.?")
# The same anywhere in the arguments of a run's calls, as a regular expression that polars runs over whole columns.
HINTS = r'"arguments":\s*"(?:[^"\\]|\\.)*?(?:\d[A-Za-z0-9_\-]{3}|[A-Za-z0-9_\-]{4}\d|@|[aA][mM][eE]\\")'
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_PLAIN_NUMBER = re.compile(r"\d{1,4}(?:[.\-]\d+)*|\d{1,2}[a-z]{2}|\d+[smhd]")
_RELATIVE = re.compile(
    r"\b(?:today|tomorrow|yesterday|tonight|next|last|this (?:week|month)|day after|mon|tues|wednes|thurs|fri|satur|sun)(?:day)?\b",
    re.I,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FREE_TEXT = 120
_PUNCTUATION = str.maketrans("", "", " \t\n-_().#/")


def ungrounded_arguments(run: Run) -> Iterator[Finding]:
    """A call whose arguments hold an id, e-mail, date, long number or person's name that stands nowhere before it.

    Sources are all messages before it, the system prompt and tool results among them, earlier calls, and the tools with their defaults and
    examples. Whole texts as arguments (a query, a note) are not judged; a date counts as said when its day and month were, or any relative
    day; a name when each of its words was; upper and lower case are the same.
    """
    for call in run.own_calls if run.hinted else ():
        strange = strange_value(run, call.index, call.arguments, call.call_id)
        if strange:
            said = f"{call.name} was called with {strange!r}, which stands in no earlier message"
            yield Finding(
                call.index, "wrong_arguments", "ungrounded_argument", "agent", call.name, "ungrounded_argument", said
            )
            return


def _tokens(arguments: str) -> Iterator[re.Match[str]]:
    return (_TOKENS_AND_MAIL if "@" in arguments else _TOKENS).finditer(arguments)


def looks_ungrounded(call_id: str, arguments: str, text: str) -> bool:
    """Whether a call may hold a value from nowhere, by the run's JSON text alone: never False where `ungrounded_arguments` finds one."""
    if not _may_hold_values(arguments):
        return False
    start = -1
    for value, _ in _values(arguments):
        if start < 0:
            start = text.find(call_id)
        if not 0 <= text.find(value) < start:
            return True
    return False


def strange_value(run: Run, index: int, text: str, call_id: str = "") -> str | None:
    """The first value of a JSON text that stands nowhere before message `index`, or None.

    Args:
        text: arguments of a call, with its `call_id`; or a structured answer, which has none and is no source of its own.
    """
    if not _may_hold_values(text):
        return None
    before: str | None = None
    start = run.text.find(call_id) if call_id else -1
    for value, place in _values(text):
        if 0 <= run.text.find(value) < start:
            continue
        if before is None:
            before = _said_before(run, index, own_words=bool(call_id))
        if value.casefold() in before or _inside_free_text(text, place) or _said_otherwise(value, before):
            continue  # the last of the three reads all that was said
        return value
    return None


def _may_hold_values(text: str) -> bool:
    return len(text) <= 4_000 and (_HINT.search(text) is not None or 'ame"' in text.lower())


def _values(text: str) -> Iterator[tuple[str, int]]:
    """(value, place) of what a JSON text must have from somewhere: tokens with a digit, e-mail addresses, words of names."""
    for found in (_TOKENS_AND_MAIL if "@" in text else _TOKENS).finditer(text):
        token = found.group().strip("-_.")
        if len(token) >= 5 and not _PLAIN_NUMBER.fullmatch(token):
            yield token, found.start()
    for found in _NAMED.finditer(text) if 'ame"' in text.lower() else ():
        name = found[1]
        if name != name.lower() and _NAME.fullmatch(name):
            for word in re.split(r"[ '.\-]+", name):
                if len(word) >= 3:
                    yield word, found.start(1)


def _said_before(run: Run, index: int, *, own_words: bool) -> str:
    """All text before a step, tools' descriptions included: an example there is a bad source, but a source."""
    parts = [message.content or "" for message in run.messages[: index + own_words]]
    made = [c.arguments for c in run.calls if c.index < index]
    return "\n".join([*parts, *made]).casefold() + run.toolbox.described


def _said_otherwise(token: str, before: str) -> bool:
    squeezed = token.casefold().translate(_PUNCTUATION)
    if squeezed and squeezed in before.translate(_PUNCTUATION):
        return True
    found = _DATE.search(token)
    if not found:
        return False
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return False
    if _RELATIVE.search(before):
        return True
    numeric = re.search(rf"\b0?{day.month}[/.\-]0?{day.day}\b|\b0?{day.day}[/.\-]0?{day.month}\b", before)
    return bool(numeric) or (
        _MONTHS[day.month - 1] in before and re.search(rf"\b0?{day.day}(?:st|nd|rd|th)?\b", before) is not None
    )


def _inside_free_text(arguments: str, place: int) -> bool:
    """Whether the place lies in a string that is prose: long, or of several words."""
    start, end = arguments.rfind('"', 0, place), arguments.find('"', place)
    value = arguments[start + 1 : end if end >= 0 else len(arguments)]
    return len(value) > _FREE_TEXT or value.count(" ") >= 2
