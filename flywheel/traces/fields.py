"""Single fields of a record: texts, numbers, times, scores and signals, each read or refused with its reason."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from flywheel.traces.refused import Refused
from flywheel.traces.trace import Signal


def optional(value: dict[str, Any], field: str) -> str | None:
    """A field as text; None where it is absent, null or empty."""
    found = value.get(field)
    return str(found) if found not in (None, "") else None


def number(value: dict[str, Any], field: str) -> float | None:
    """A field as a number; Refused when it is something else."""
    found = value.get(field)
    if found is None:
        return None
    if isinstance(found, bool):
        return float(found)
    if not isinstance(found, int | float) or abs(found) > 1e300:
        raise Refused("invalid_number", f"`{field}` is no usable number", f"log `{field}` as a number")
    return float(found)


def count(value: Any, *fields: str) -> int | None:
    """The first of the fields that holds a plausible count."""
    for field in fields:
        found = value.get(field) if isinstance(value, dict) else None
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**53:
            return found
    return None


def score(given: Any) -> float | None:
    """Feedback from -1 to 1; Refused outside."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not -1 <= given <= 1:
        raise Refused(
            "invalid_feedback", f"feedback score {str(given)[:40]} is not between -1 and 1", "scale it to -1 to 1"
        )
    return float(given)


def signals_of(given: Any) -> list[Signal]:
    """`Signal/1` objects; Refused for anything else."""
    if not given:
        return []
    try:
        return msgspec.convert(given, list[Signal])
    except msgspec.ValidationError as error:
        raise Refused("invalid_signal", str(error)[:200], "write signals as Signal/1 has them") from None


def expected(given: Any) -> list[dict[str, Any]] | None:
    """Gold actions, `{"name", "arguments"}` each; None where the source has none."""
    if given is None:
        return None
    if not isinstance(given, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("arguments", {}) or {}, dict)
        for one in given
    ):
        remedy = 'write [{"name": tool, "arguments": {...}}]'
        raise Refused("invalid_expected_actions", "`expected_actions` is no list of calls", remedy)
    return [{"name": one["name"], "arguments": one.get("arguments") or {}} for one in given]


def moment(value: dict[str, Any], field: str) -> datetime | None:
    """A time as ISO 8601 text or seconds since 1970 (milli-, micro- and nanoseconds are told by their size), in UTC."""
    given = value.get(field)
    if given is None:
        return None
    try:
        if isinstance(given, str) and not given.isdigit():
            return utc(datetime.fromisoformat(given))
        seconds = float(given)
        if not abs(seconds) < 1e20:  # more than nanoseconds
            raise ValueError
        while abs(seconds) > 1e11:
            seconds /= 1000.0
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        remedy = "write ISO 8601, as in 2026-01-05T09:30:00Z"
        raise Refused("invalid_time", f"`{field}` is {str(given)[:60]!r}", remedy) from None


def utc(given: datetime | None) -> datetime | None:
    """The moment in UTC; one without a zone is UTC."""
    if given is None or given.tzinfo is UTC:
        return given
    try:
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except OverflowError:
        raise Refused(
            "invalid_time", "a time lies outside the calendar", "write ISO 8601, as in 2026-01-05T09:30:00Z"
        ) from None
