"""Arguments that come from nowhere: an id, e-mail, date or long number that no earlier text holds."""

import re
from collections.abc import Iterator
from datetime import date

from flywheel.failures.finding import Call, Finding, Run

# Ids and numbers: a digit among at least five characters, as production systems make them.
# From the start of a word only: no position inside one is tried again. E-mail addresses are looked for where there is an @.
_TOKENS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]*\d[A-Za-z0-9_\-]*")
_TOKENS_AND_MAIL = re.compile(rf"[A-Za-z0-9_.+\-]+@[A-Za-z0-9.\-]+|{_TOKENS.pattern}")
# An @, or a digit before three or after four such characters; begins with one set, so that the engine skips to it.
_HINT = re.compile(r"[\d@](?:(?<=@)|[A-Za-z0-9_\-]{3}|(?<=[A-Za-z0-9_\-]{4}\d))")
# The same anywhere in the arguments of a run's calls, as a regular expression that polars runs over whole columns.
HINTS = r'"arguments":\s*"(?:[^"\\]|\\.)*?(?:\d[A-Za-z0-9_\-]{3}|[A-Za-z0-9_\-]{4}\d|@)'
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
    """A call whose arguments hold an id, e-mail, date or long number that stands nowhere before it.

    Whole texts as arguments (a query, a note) are not judged; a date counts as said when its day and month were, or any
    relative day; upper and lower case are the same.
    """
    for call in run.own_calls:
        if len(call.arguments) > 4_000 or not _HINT.search(call.arguments):
            continue
        strange = _strange(run, call)
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
    if len(arguments) > 4_000 or not _HINT.search(arguments):
        return False
    start = -1
    for found in _tokens(arguments):
        token = found.group().strip("-_.")
        if len(token) < 5 or _PLAIN_NUMBER.fullmatch(token):
            continue
        if start < 0:
            start = text.find(call_id)
        if not 0 <= text.find(token) < start:
            return True
    return False


def _strange(run: Run, call: Call) -> str | None:
    before: str | None = None
    for found in _tokens(call.arguments):
        token = found.group().strip("-_.")
        if len(token) < 5 or _PLAIN_NUMBER.fullmatch(token):
            continue
        place = run.text.find(token)
        start = run.text.find(call.call_id)
        if 0 <= place < start:
            continue
        if before is None:
            before = _said_before(run, call)
        if (
            token.casefold() in before
            or _said_otherwise(token, before)
            or _inside_free_text(call.arguments, found.start())
        ):
            continue
        return token
    return None


def _said_before(run: Run, call: Call) -> str:
    """All text before the call, tools' descriptions included: an example there is a bad source, but a source."""
    parts = [message.content or "" for message in run.messages[: call.index + 1]]
    made = [c.arguments for c in run.calls if c.index < call.index]
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
