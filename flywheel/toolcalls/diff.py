"""What differs between two JSON values, by path: the unit a reviewer reads and a patch is made of.

What goes here: comparing and patching values. What does not: messages, schemas, or how a difference is drawn.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple


class Change(NamedTuple):
    """One difference.

    Attributes:
        path: keys and indices from the root, e.g. ("address", "zip").
        kind: added, removed or changed.
        before, after: the values; None on the side where there is none.
    """

    path: tuple[str | int, ...]
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any

    @property
    def where(self) -> str:
        """The path as people read it: address.zip, items[2]; (all) for the root."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".") or "(all)"


def diff(before: Any, after: Any) -> list[Change]:
    """All differences, smallest values first in path order; empty when equal. 1 and 1.0 are equal, 1 and True are not."""
    return list(_walk((), before, after))


def equal(one: Any, other: Any) -> bool:
    """JSON equality: unlike Python's, True is not 1."""
    return not diff(one, other)


def patched(value: Any, changes: Iterable[Change]) -> Any | None:
    """A copy of `value` with the changes made; None where it does not hold what they change.

    A change applies where the old value stands at its path (nothing, for an added one): a patch never overwrites a
    value that was something else in the first place.
    """
    root = [copy.deepcopy(value)]
    wanted = list(changes)
    removals = [change for change in wanted if change.kind == "removed"]
    # Removals last, and from the end: an index must not shift under the next one.
    for change in [*(change for change in wanted if change.kind != "removed"), *reversed(removals)]:
        parent: Any = root
        path = (0, *change.path)
        for step in path[:-1]:
            if not _holds(parent, step):
                return None
            parent = parent[step]
        if not _apply(parent, path[-1], change):
            return None
    return root[0]


def _walk(path: tuple[str | int, ...], before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            if key not in after:
                yield Change((*path, key), "removed", before[key], None)
            elif key not in before:
                yield Change((*path, key), "added", None, after[key])
            else:
                yield from _walk((*path, key), before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            if index >= len(after):
                yield Change((*path, index), "removed", before[index], None)
            elif index >= len(before):
                yield Change((*path, index), "added", None, after[index])
            else:
                yield from _walk((*path, index), before[index], after[index])
    elif isinstance(before, bool) != isinstance(after, bool) or before != after:
        yield Change(path, "changed", before, after)


def _holds(parent: Any, step: str | int) -> bool:
    if isinstance(parent, dict):
        return step in parent
    return isinstance(parent, list) and isinstance(step, int) and 0 <= step < len(parent)


def _apply(parent: Any, step: Any, change: Change) -> bool:
    if change.kind == "added":
        if isinstance(parent, list) and step == len(parent):
            parent.append(change.after)
        elif isinstance(parent, dict) and step not in parent:
            parent[step] = change.after
        else:
            return False
        return True
    if not _holds(parent, step) or not equal(parent[step], change.before):
        return False
    if change.kind == "removed":
        del parent[step]
    else:
        parent[step] = change.after
    return True
