"""Do two end states agree? Numbers compared as numbers, declared volatile fields left out, and where they first differ."""

import math
from collections.abc import Sequence
from typing import Any

_WHOLE = 2**53  # from here on no float is a fraction, and some whole numbers have no float


def difference(expected: Any, actual: Any, volatile: Sequence[str] = ()) -> str | None:
    """The first place at which two JSON values differ, as a sentence; None where they agree.

    1 equals 1.0, and where one of two numbers is a fraction, they are equal when they differ by less than 1e-9 of their size (sums of
    money in binary fractions); whole numbers are ids and counts, equal or not. A boolean never equals a number, a string of digits
    is no number. Order of object keys is ignored, that of arrays is kept.

    Args:
        volatile: fields not compared (time stamps, generated ids): a name at any depth, or a dotted path with `*` for one key.
    """
    patterns = [tuple(pattern.split(".")) for pattern in volatile]
    return _difference(expected, actual, (), patterns)


def _difference(expected: Any, actual: Any, path: tuple[str, ...], volatile: list[tuple[str, ...]]) -> str | None:
    if any(_fits(pattern, path) for pattern in volatile):
        return None
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in dict.fromkeys([*expected, *actual]):
            place = (*path, str(key))
            if (key in expected) != (key in actual):
                if not any(_fits(pattern, place) for pattern in volatile):
                    return f"{'.'.join(place)} is {'missing' if key in expected else 'there and should not be'}"
            elif found := _difference(expected[key], actual[key], place, volatile):
                return found
        return None
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{'.'.join(path) or 'the state'} has {len(actual)} entries instead of {len(expected)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        found = (_difference(one, other, (*path, str(number)), volatile) for number, (one, other) in pairs)
        return next((sentence for sentence in found if sentence), None)
    return None if _same(expected, actual) else f"{'.'.join(path) or 'the state'} is {actual!r} instead of {expected!r}"


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        fraction = any(isinstance(one, float) and not one.is_integer() for one in (expected, actual))
        near = fraction and abs(expected) < _WHOLE and abs(actual) < _WHOLE
        return expected == actual or (near and math.isclose(expected, actual, rel_tol=1e-9, abs_tol=1e-12))
    return type(expected) is type(actual) and expected == actual


def _fits(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if len(pattern) == 1:
        return bool(path) and path[-1] == pattern[0]
    return len(pattern) == len(path) and all(want in ("*", have) for want, have in zip(pattern, path, strict=True))
