"""JSON as both sides read and hash it: strict parsing, one canonical text, SHA-256, and the root over a folder's hashes."""

import hashlib
import json
import math
from typing import Any

# Past this depth the validators of both sides give up at different places; nobody's arguments are nested so deep.
MAXIMUM_DEPTH = 64


class NotStrict(ValueError):
    """The text is no JSON that both sides read alike; the message says why."""


def parse(text: str | bytes, *, unique_keys: bool = True) -> Any:
    """The value of one JSON text: no NaN, no number out of range, no lone surrogate, at most MAXIMUM_DEPTH deep.

    Raises NotStrict. `unique_keys=False` keeps the last of repeated keys, as the form's parser does for arguments.
    """
    pairs = _unique if unique_keys else None
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant, parse_float=_finite)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate
    except RecursionError:
        raise NotStrict("nested too deep") from None
    except UnicodeError:
        raise NotStrict("no valid Unicode text") from None
    except NotStrict:
        raise
    except ValueError as error:
        raise NotStrict(f"no valid JSON: {error}"[:300]) from None
    if _depth(value) > MAXIMUM_DEPTH:
        raise NotStrict(f"nested deeper than {MAXIMUM_DEPTH} levels")
    return value


def canonical(value: Any) -> str:
    """JSON text with sorted keys and no spaces: what is hashed and compared."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def pretty(value: Any) -> bytes:
    """JSON text as files hold it: sorted keys, two spaces, plain ASCII, so that no character acts on who reads it."""
    return (json.dumps(value, allow_nan=False, sort_keys=True, indent=2) + "\n").encode()


def sha256_of(value: Any) -> str:
    """Hex SHA-256 of a value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sha256(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def merkle_root(hashes: dict[str, str]) -> str:
    """Root over (file name, hash) pairs in the order of the names; a leaf and a node are hashed with different prefixes."""
    level = [hashlib.sha256(f"leaf\0{name}\0{digest}".encode()).digest() for name, digest in sorted(hashes.items())]
    while len(level) > 1:
        pairs = [level[place : place + 2] for place in range(0, len(level), 2)]
        level = [hashlib.sha256(b"node\0" + b"".join(pair)).digest() for pair in pairs]
    return level[0].hex() if level else sha256(b"")


def _depth(value: Any) -> int:
    deepest, stack = 0, [(value, 1)]
    while stack:
        part, depth = stack.pop()
        deepest = max(deepest, depth)
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        stack += [(one, depth + 1) for one in inner]
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotStrict("a key stands twice in one object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrict(f"the number {text[:20]} is out of range")
    return number


def _no_constant(name: str) -> Any:
    raise NotStrict(f"{name} is not JSON")
