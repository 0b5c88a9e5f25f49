"""RFC 6902 patches over a run's messages: the short way to say what was corrected."""

import copy
from typing import Any

from .strict import canonical

MAXIMUM_OPERATIONS = 500


class PatchError(ValueError):
    """The patch does not apply; the message names the operation."""


def apply_patch(document: Any, patch: list[dict[str, Any]]) -> Any:
    """A changed copy of the document; raises PatchError. Operations: add, remove, replace, move, copy, test."""
    result = copy.deepcopy(document)
    if len(patch) > MAXIMUM_OPERATIONS:
        raise PatchError(f"more than {MAXIMUM_OPERATIONS} operations")
    for number, operation in enumerate(patch):
        try:
            result = _apply(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PatchError(f"operation {number} ({operation.get('op')} {operation.get('path')}): {error}") from None
    return result


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    kind, steps = operation["op"], _steps(operation["path"])
    match kind:
        case "add":
            return _add(document, steps, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, steps)[0]
        case "replace":
            return _add(_remove(document, steps)[0], steps, copy.deepcopy(operation["value"]), replacing=True)
        case "move":
            source = _steps(operation["from"])
            if steps[: len(source)] == source and steps != source:
                raise ValueError("it moves a value into itself")
            document, value = _remove(document, source)
            return _add(document, steps, value)
        case "copy":
            return _add(document, steps, copy.deepcopy(_at(document, _steps(operation["from"]))))
        case "test":
            if canonical(_at(document, steps)) != canonical(operation["value"]):
                raise ValueError("the tested value is another")
            return document
    raise ValueError("there is no such operation")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError("a JSON pointer begins with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _index(step: str, length: int) -> int:
    if not (step.isascii() and step.isdigit()) or (len(step) > 1 and step[0] == "0") or int(step) > length:
        raise ValueError(f"{step!r} is no place in a list of {length}")
    return int(step)


def _at(document: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(document, list):
            document = document[_index(step, len(document) - 1)]
        elif isinstance(document, dict):
            document = document[step]
        else:
            raise ValueError(f"nothing is inside the value before {step!r}")
    return document


def _add(document: Any, steps: list[str], value: Any, *, replacing: bool = False) -> Any:
    if not steps:
        return value
    parent, last = _at(document, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        place = len(parent) if last == "-" and not replacing else _index(last, len(parent))
        parent.insert(place, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise ValueError("the value before is neither object nor list")
    return document


def _remove(document: Any, steps: list[str]) -> tuple[Any, Any]:
    if not steps:
        return None, document
    parent, last = _at(document, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        return document, parent.pop(_index(last, len(parent) - 1))
    if not isinstance(parent, dict):
        raise ValueError("the value before is neither object nor list")
    return document, parent.pop(last)
