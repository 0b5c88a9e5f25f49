"""How far two JSON values are apart, by JSON path: the distance behind agreement on arguments and the edit distance of effort.

Equal are: strings that differ in case or white space only, numbers however written (5, 5.0, "5"), arrays in another order.
Standard library only: the verifier that partners run uses it too.
"""

from collections import Counter, defaultdict
from typing import Any


def distance(one: Any, other: Any) -> float:
    """Share of leaves that differ, 0 (equivalent) to 1 (nothing in common)."""
    changed, leaves = _compare(one, other)
    return changed / leaves if leaves else 0.0


def edits(before: Any, after: Any) -> int:
    """Number of leaves added, removed or changed."""
    return _compare(before, after)[0]


def _compare(one: Any, other: Any) -> tuple[int, int]:
    """Leaves that differ, and leaves in all: for each path the larger count of both."""
    first, second = _leaves(one), _leaves(other)
    changed = leaves = 0
    for path in first.keys() | second.keys():
        here, there = first.get(path, Counter()), second.get(path, Counter())
        size = max(here.total(), there.total())
        leaves += size
        changed += size - (here & there).total()
    return changed, leaves


def _leaves(value: Any) -> dict[str, Counter[str]]:
    """Path -> its scalars. Elements of an array share one path, so that their order does not count."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    waiting: list[tuple[str, Any]] = [("$", value)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict) and node:
            waiting += [(f"{path}.{key}", child) for key, child in node.items()]
        elif isinstance(node, list) and node:
            waiting += [(f"{path}[]", child) for child in node]
        else:
            found[path][_scalar(node)] += 1
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    text = " ".join(str(value).split()).casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    # Long digit strings and such with leading zeros are ids: as numbers, different ones would become equal.
    identifier = len(text) > 6 or (text[0] == "0" and text[1:2].isdigit())
    return text if identifier else f"{number:g}"
