"""JSON as the specification has it: no NaN, no number past range, no key twice, bounded depth, storable text.

The slow and exact reading, for records the fast path of an adapter refuses or suspects. Everything that is wrong has a name.
"""

import json
import math
from typing import Any

from flywheel.traces.refused import Refused


def strict_value(data: bytes) -> Any:
    """Parse one JSON text; raises Refused with the reason."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("invalid_utf8", f"byte {error.start} is no UTF-8", "write the log as UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be stored as UTF-8
    except RecursionError:
        raise Refused("too_deep", "nested deeper than the parser allows", "flatten the record") from None
    except _Repeated as error:
        raise Refused("repeated_key", str(error), "write each key of an object once") from None
    except ValueError as error:
        raise Refused("invalid_json", str(error)[:300], "write one whole JSON object a line") from None
    return value


def strict_object(data: bytes) -> dict[str, Any]:
    """The same for a JSON object."""
    value = strict_value(data)
    if not isinstance(value, dict):
        raise Refused("not_an_object", f"the record is a JSON {type(value).__name__}", "write one JSON object a line")
    return value


class _Repeated(ValueError):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _Repeated(f"the key {repeated[:60]!r} stands twice in one object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
