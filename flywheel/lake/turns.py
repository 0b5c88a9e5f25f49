"""Several writers of one table: who was overtaken looks again after a random pause, so that nobody is overtaken every time.

What goes here: how often and how long one waits. What does not: what is looked at again (`store.py`).
"""

import random
import time
from collections.abc import Iterator

from flywheel.errors import Interrupted

_TRIES = 12
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


def tries(times: int = _TRIES) -> Iterator[int]:
    """The numbers of the tries, 0 to `times` - 1, after pauses in seconds drawn below a bound that doubles.

    The pauses are what AWS calls full jitter: writers that met once are unlikely to meet again, however slow the store is
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    for attempt in range(times):
        if attempt:
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1))))
        yield attempt


def overtaken(table: str, uri: str) -> Interrupted:
    """The error of a writer that others overtook in every try; nothing of its write counts."""
    return Interrupted(
        f"table {table} was not written: other writers were faster {_TRIES} times in a row", where=uri,
        remedy="run the same command again; if it happens often, let fewer processes write at once",
    )  # fmt: skip
